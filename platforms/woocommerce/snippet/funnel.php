<?php
// Part of plugin.php.

namespace TikTok_Connector;

// --- before the order -----------------------------------------------------------------------------------------

const MOST_CONTENTS  = 50;    // products of an event that the connector reads
const LONGEST_REPORT = 16384; // bytes of a report of events that it takes
const LONGEST_NOTES  = 3500;  // characters of the cookie of notes; browsers take 4,096 of name and value

/**
 * Take note of a product that was put into the cart: by a form, by AJAX or by the Store API.
 */
function note_added( $key, $product_id = 0, $quantity = 1 ) {
	$row = WC()->cart ? WC()->cart->get_cart_item( $key ) : array();
	if ( ! $row || ! empty( $row['bundled_by'] ) || ! empty( $row['composite_parent'] ) ) {
		return; // the bundle stands for its parts
	}
	$price   = money( $row['data']->get_price() );
	$content = content( $row['product_id'], $row['variation_id'], (string) $row['data']->get_sku(), (string) $row['data']->get_name(), $quantity, $price );
	$value   = money( $price * quantity( $quantity ) );
	note( 'cart_added', properties( array( $content ), get_woocommerce_currency(), $value, '' ), new_event_id() );
}

/**
 * Take note of more of a product that is in the cart already. Of that, the Store API (by which the blocks' buttons put
 * products into the cart) fires no `woocommerce_add_to_cart`.
 */
function note_more( $key, $quantity, $before = 0 ) {
	if ( $quantity > $before && defined( 'REST_REQUEST' ) && REST_REQUEST ) {
		note_added( $key, 0, $quantity - $before );
	}
}

/**
 * Take note of a checkout whose payment is submitted, once however often that is tried.
 */
function note_payment( $order ) {
	$order = wc_get_order( $order );
	if ( $order && is_for_browser( $order ) ) {
		$id = substr( hash( 'sha256', home_url() . ' ' . $order->get_order_key() ), 0, 32 );
		$user = user( (string) $order->get_billing_email(), (string) $order->get_billing_phone(), (string) $order->get_billing_country(), order_ids( $order ) );
		note( 'payment_info_added', properties( order_contents( $order ), $order->get_currency(), order_value( $order ), '' ), $id, $user );
	}
}

/**
 * Describe a product's or a search's page for `print_page`. It may be stored by a page cache, so it names no visitor and has
 * no token: only the event_id under which the server was told already, with half of the cookie of the one it was told of.
 */
function describe_page() {
	global $tiktok_connector_page;
	if ( 'POST' === $_SERVER['REQUEST_METHOD'] ) {
		return; // the same page, in answer to a form
	}
	$product = is_product() ? wc_get_product( get_queried_object_id() ) : null;
	if ( $product && is_on( 'product_viewed' ) ) {
		$tiktok_connector_page = array(
			'milestone'  => 'product_viewed',
			'properties' => product_properties( $product ),
		);
		if ( '' !== visit() && is_shopper() && 'GET' === $_SERVER['REQUEST_METHOD'] && ! is_preview() ) {
			$id = new_event_id();

			$tiktok_connector_page['id']    = $id;
			$tiktok_connector_page['visit'] = substr( visit(), 0, 16 );
			tell_server( 'product_viewed', $tiktok_connector_page['properties'], $id, visitor_hashes(), page_url(), page_before() );
		}
	} elseif ( is_search() && ! is_paged() && is_on( 'searched' ) && preg_match( SEARCH, trim( get_search_query( false ) ) ) ) {
		$tiktok_connector_page = array(
			'milestone'  => 'searched',
			'properties' => array( 'search_string' => trim( get_search_query( false ) ) ),
		);
	}
}

/**
 * A product of several variations stands for all of them.
 */
function product_properties( $product ) {
	$price      = '' === (string) $product->get_price() ? null : money( $product->get_price() ); // some have none
	$content    = content( $product->get_id(), 0, (string) $product->get_sku(), (string) $product->get_name(), 1, $price );
	$content    = null === $price ? array_diff_key( $content, array( 'price' => 0 ) ) : $content;
	$properties = properties( array( $content ), get_woocommerce_currency(), $price, '' );
	if ( isset( $properties['content_type'] ) && $product->is_type( 'variable' ) ) {
		$properties['content_type'] = 'product_group';
	}
	return $properties;
}

function is_on( $milestone ) {
	return ! empty( settings( 'funnel' )[ $milestone ] );
}

/**
 * Return true if the visitor may be a shopper who has consented, and who sees the page (a browser may only fetch it ahead).
 */
function is_shopper() {
	$purpose = '';
	foreach ( array( 'HTTP_SEC_PURPOSE', 'HTTP_PURPOSE', 'HTTP_X_MOZ' ) as $header ) {
		$purpose .= isset( $_SERVER[ $header ] ) ? strtolower( $_SERVER[ $header ] ) : '';
	}
	return is_allowed( consent(), '' ) && false === strpos( $purpose, 'prefetch' ) && ! current_user_can( 'manage_woocommerce' );
}

/**
 * Return the random name of this browser's visit, which ends with the browser; '' before the visitor's consent. The page's
 * script sets the cookie, too.
 */
function visit() {
	$visit = cookie( VISIT );
	return is_shopper() && preg_match( '/^[0-9a-f]{32}$/', $visit ) ? $visit : '';
}

/**
 * Name the visit of a browser that is not named yet.
 */
function name_visit() {
	if ( settings( 'funnel' ) && '' === visit() ) {
		keep_cookie( VISIT, new_event_id(), 0 );
	}
}

// --- to the server and to the page ----------------------------------------------------------------------------

/**
 * Tell the server of an event now, and the page's script with the next answer to this browser: by a cookie, as that answer
 * may be a page from a cache, or no page.
 */
function note( $milestone, $properties, $id, $user = null ) {
	if ( ! is_on( $milestone ) || ! is_shopper() || ! WC()->session ) {
		return;
	}
	name_visit();
	$asked = wp_doing_ajax() || ( defined( 'REST_REQUEST' ) && REST_REQUEST ) || isset( $_GET['wc-ajax'] );
	$user  = null === $user ? visitor_hashes() : $user;
	tell_server( $milestone, $properties, $id, $user, $asked ? page_before() : page_url(), '' );
	if ( ! settings( 'pixels' ) ) {
		return;
	}
	$kept   = json_decode( isset( $_COOKIE[ NOTES ] ) ? (string) wp_unslash( $_COOKIE[ NOTES ] ) : '', true );
	$kept   = is_array( $kept ) ? $kept : array();
	$kept[] = fitting_note( $milestone, $properties, $id );
	while ( is_long( $kept ) ) {
		array_shift( $kept );
	}
	keep_cookie( NOTES, $kept ? wp_json_encode( $kept ) : '', 300 );
}

/**
 * Return the note of an event. What of its products does not fit is in the server's copy, to which TikTok adds this one.
 */
function fitting_note( $milestone, $properties, $id ) {
	foreach ( in_lengths( $properties ) as $shorter ) {
		$note = array(
			'milestone'  => $milestone,
			'id'         => $id,
			'properties' => $shorter,
		);
		if ( ! is_long( array( $note ) ) ) {
			break;
		}
	}
	return $note;
}

function is_long( $notes ) {
	return $notes && strlen( rawurlencode( wp_json_encode( $notes ) ) ) > LONGEST_NOTES;
}

/**
 * Return an event's properties as they are, without the names of products, and without products. The connector reads no
 * more than 50 of them.
 */
function in_lengths( $properties ) {
	if ( ! isset( $properties['contents'] ) ) {
		return array( $properties, $properties, $properties );
	}
	$properties['contents'] = array_slice( $properties['contents'], 0, MOST_CONTENTS );

	$unnamed = $properties;
	foreach ( array_keys( $unnamed['contents'] ) as $index ) {
		unset( $unnamed['contents'][ $index ]['content_name'] );
	}
	return array( $properties, $unnamed, array_diff_key( $properties, array_flip( array( 'contents', 'content_type' ) ) ) );
}

/**
 * Keep an event for `send_events`, which runs when the visitor has the answer.
 */
function tell_server( $milestone, $properties, $id, $user, $url, $referrer ) {
	global $tiktok_connector_events;
	$tiktok_connector_events[] = array_filter(
		array(
			'milestone'   => $milestone,
			'event_id'    => $id,
			'time'        => time(),
			'url'         => $url,
			'referrer'    => $referrer,
			'properties'  => $properties,
			'email'       => isset( $user['email'] ) ? $user['email'] : '',
			'phone'       => isset( $user['phone_number'] ) ? $user['phone_number'] : '',
			'external_id' => isset( $user['external_id'] ) ? $user['external_id'] : '',
		)
	);
}

/**
 * Send the request's events to the server, signed. A server that does not answer is left alone for a minute.
 */
function send_events() {
	global $tiktok_connector_events;
	if ( ! $tiktok_connector_events || get_transient( PAUSE ) ) {
		return;
	}
	if ( function_exists( 'fastcgi_finish_request' ) ) {
		fastcgi_finish_request();
	} elseif ( function_exists( 'litespeed_finish_request' ) ) {
		litespeed_finish_request();
	}
	$body = report_of( array_slice( $tiktok_connector_events, -10 ) );

	$tiktok_connector_events = array();

	$answer = wp_remote_post(
		settings( 'funnel_urls' )['event'],
		array(
			'body'        => $body,
			'timeout'     => 2,
			'redirection' => 0,
			'headers'     => array(
				'Content-Type'          => 'text/plain;charset=UTF-8',
				'X-Connector-Signature' => hash_hmac( 'sha256', $body, settings( 'funnel_key' ) ),
			),
		)
	);
	if ( is_wp_error( $answer ) ) {
		set_transient( PAUSE, '1', 60 );
	}
}

/**
 * Return the JSON of a request's events, with what of their products the server takes in one report.
 */
function report_of( $events ) {
	$signals = signals();
	$report  = array_filter(
		array(
			'time'       => time(),
			'ttclid'     => isset( $signals['_tiktok_ttclid'] ) ? $signals['_tiktok_ttclid'] : '',
			'ttp'        => isset( $signals['_tiktok_ttp'] ) ? $signals['_tiktok_ttp'] : '',
			'ip'         => \WC_Geolocation::get_ip_address(),
			'user_agent' => wc_get_user_agent(),
			'locale'     => str_replace( '_', '-', get_locale() ),
			'consent'    => consent(),
		)
	);
	$lengths = array();
	foreach ( $events as $event ) {
		$lengths[] = in_lengths( isset( $event['properties'] ) ? $event['properties'] : array() );
	}
	for ( $step = 0; $step < 3; $step++ ) {
		foreach ( array_keys( $events ) as $at ) {
			$events[ $at ]['properties'] = $lengths[ $at ][ $step ];
		}
		$body = wp_json_encode( $report + array( 'events' => $events ) );
		if ( strlen( $body ) <= LONGEST_REPORT ) {
			break;
		}
	}
	return $body;
}

/**
 * Answer the page's script, which sends what this file does not see: a token for the server, and the hash of who is signed in. It is
 * asked for under WooCommerce's own address for such requests, which no page cache stores.
 */
function answer_page() {
	if ( ! is_shopper() ) {
		wp_send_json( array( 'token' => '' ) ); // the script then sends nothing
	}
	$expires = time() + 1800;
	$claims  = "p.$expires." . bin2hex( random_bytes( 12 ) );
	$mac     = substr( hash_hmac( 'sha256', settings( 'store' ) . ".$claims", settings( 'funnel_key' ) ), 0, 32 );
	wp_send_json(
		array(
			'token'       => "$claims.$mac",
			'expires'     => $expires,
			'external_id' => isset( visitor_hashes()['external_id'] ) ? visitor_hashes()['external_id'] : '',
		)
	);
}

/**
 * Return the match keys of who is signed in, or has begun a checkout in this visit.
 */
function visitor_hashes() {
	$customer = WC()->customer;
	$ids      = array( 'customer_id' => identifier( get_current_user_id() ) );
	if ( ! $customer ) {
		return user( '', '', '', $ids );
	}
	return user( (string) $customer->get_billing_email(), (string) $customer->get_billing_phone(), (string) $customer->get_billing_country(), $ids );
}

function new_event_id() {
	return bin2hex( random_bytes( 16 ) );
}

/**
 * Return the page that the request comes from; WordPress's own function prefers what a form has in a field.
 */
function page_before() {
	return isset( $_SERVER['HTTP_REFERER'] ) ? esc_url_raw( wp_unslash( $_SERVER['HTTP_REFERER'] ) ) : '';
}

function page_url() {
	$host = isset( $_SERVER['HTTP_HOST'] ) ? $_SERVER['HTTP_HOST'] : '';
	return esc_url_raw( ( is_ssl() ? 'https://' : 'http://' ) . $host . ( isset( $_SERVER['REQUEST_URI'] ) ? wp_unslash( $_SERVER['REQUEST_URI'] ) : '' ) );
}
