<?php
// Sends an event to the connector, signed by the Standard Webhooks. PHP 8.0 or newer, without extensions.

/**
 * Posts the event to https://CONNECTOR/webhooks/STORE and returns the answer. Call it in a job (cron, queue), not in the
 * shopper's request: it repeats what could not be delivered. Throws if the event is refused, or after the last attempt.
 */
function send_event(string $url, string $secret, array $event, int $attempts = 5): string {
    $body = json_encode($event, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
    $key = str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6)) : $secret;
    $id = 'msg_' . bin2hex(random_bytes(12));
    for ($attempt = 0; $attempt < $attempts; $attempt++) {
        $now = (string) time();
        $signature = base64_encode(hash_hmac('sha256', "$id.$now.$body", $key, true));
        $headers = ['Content-Type: application/json', "webhook-id: $id", "webhook-timestamp: $now"];
        $headers[] = "webhook-signature: v1,$signature";
        $http = ['method' => 'POST', 'header' => $headers, 'content' => $body, 'timeout' => 10, 'ignore_errors' => true];
        $answer = @file_get_contents($url, false, stream_context_create(['http' => $http]));
        $status = $answer === false ? 0 : (int) explode(' ', $http_response_header[0])[1];
        if ($status >= 200 && $status < 300) {
            return $answer;
        }
        if ($status >= 300 && $status < 500) {
            break;
        }
        if ($attempt + 1 < $attempts) {
            sleep(4 ** $attempt);
        }
    }
    throw new RuntimeException('the event was not delivered: ' . ($status ? "$status $answer" : 'no answer'));
}
