<?php
/**
 * Plugin Name: TikTok connector
 * Description: Tells the connector what only the browser knows, and TikTok's pixel the connector's event_ids.
 *
 * Made by `connector snippet`; make it again when the store's settings change. PHP 7.4 to 8.4, WooCommerce 7 and newer.
 */

namespace TikTok_Connector;

defined( 'ABSPATH' ) || exit;

const SETTINGS = <<<'SETTINGS_JSON'
{settings}
SETTINGS_JSON;

const PIXEL = <<<'PIXEL_SCRIPT'
{pixel}
PIXEL_SCRIPT;

const REMEMBER = <<<'REMEMBER_SCRIPT'
{remember}
REMEMBER_SCRIPT;

const KEPT    = 2592000; // seconds a click id is remembered: 30 days
const TOO_OLD = 169200;  // seconds after which TikTok no longer knows the server's copy: 47 hours
const LONGEST = 7500;    // characters of a hook's argument; WordPress's queue of webhooks takes 8,000 of all together
const TOKEN   = 'tiktok_checkout_token';
const SENT    = '_tiktok_connector_sent';

/**
 * A hook's name and priority with the function of this file that is called.
 */
function on( $hook, $name, $arguments = 1, $priority = 10 ) {
	add_filter( $hook, __NAMESPACE__ . '\\' . $name, $priority, $arguments );
}

on( 'template_redirect', 'remember', 0 );
on( 'wp_footer', 'print_remembering', 0 );
on( 'woocommerce_before_checkout_form', 'start_checkout', 0 );                          // classic checkout
on( 'woocommerce_blocks_enqueue_checkout_block_scripts_after', 'start_checkout', 0 );   // checkout block
on( 'woocommerce_checkout_create_order', 'write_to_order' );                            // classic: saved afterwards
on( 'woocommerce_store_api_checkout_update_order_meta', 'write_to_saved_order' );       // block
on( 'woocommerce_checkout_order_processed', 'forget_checkout', 0 );
on( 'woocommerce_store_api_checkout_order_processed', 'forget_checkout', 0 );
on( 'woocommerce_created_customer', 'write_to_customer' );
on( 'woocommerce_thankyou', 'thank_you' );
on( 'wp_footer', 'print_pixel', 0, 99 );
foreach ( array( 'subscription', 'renewal_order', 'resubscribe_order' ) as $copy ) {
	on( "wc_subscriptions_{$copy}_data", 'leave_out_of_copy' );
	on( "wcs_{$copy}_meta", 'leave_out_of_copy' ); // WooCommerce Subscriptions before 4.7
}
if ( settings( 'with_official_plugin' ) ) {
	on( 'wp_loaded', 'unhook_official_plugin', 0 );
}

/**
 * One of the store's settings.
 */
function settings( $name ) {
	static $all = null;
	if ( null === $all ) {
		$all = json_decode( SETTINGS, true );
	}
	return $all[ $name ];
}

// --- what only the browser knows ------------------------------------------------------------------------------

/**
 * Keep the landing page's click id. Cookies of a server live longer than those of a script.
 */
function remember() {
	$click = plain_ascii( isset( $_GET['ttclid'] ) ? wp_unslash( $_GET['ttclid'] ) : '' );
	if ( '' === $click || headers_sent() || ! is_allowed( consent(), '' ) ) {
		return;
	}
	$how = array(
		'expires'  => time() + KEPT,
		'path'     => '/',
		'secure'   => is_ssl(),
		'samesite' => 'Lax',
	);
	setcookie( 'ttclid', $click, $how );
	$_COOKIE['ttclid'] = $click;
}

/**
 * The same for pages that come from a cache.
 */
function print_remembering() {
	print_script(
		REMEMBER,
		array(
			'seconds' => KEPT,
			'ask'     => ! is_allowed( '', '' ),
		)
	);
}

/**
 * TikTok's click id and browser id, under the names of order meta that the connector reads; only those there are.
 */
function signals() {
	$click = cookie( 'ttclid' );
	return array_filter(
		array(
			'_tiktok_ttclid' => '' === $click ? cookie( 'tiktok_ttclid' ) : $click, // the official plugin's
			'_tiktok_ttp'    => cookie( '_ttp' ), // TikTok's pixel sets it; it is never made up
		)
	);
}

function cookie( $name ) {
	return plain_ascii( isset( $_COOKIE[ $name ] ) ? wp_unslash( $_COOKIE[ $name ] ) : '' );
}

/**
 * The very value, or '' if it cannot be an id of TikTok's. (WordPress's sanitizers would cut pieces out of it.)
 */
function plain_ascii( $value ) {
	return is_string( $value ) && preg_match( '/^[\x21-\x7E]{1,4000}$/', $value ) ? $value : '';
}

// --- consent --------------------------------------------------------------------------------------------------

/**
 * What the WP Consent API knows of this visitor: 'granted', 'denied' or '' (no consent banner works with it).
 */
function consent() {
	if ( ! function_exists( 'wp_has_consent' ) ) {
		return '';
	}
	if ( function_exists( 'wp_get_consent_type' ) && ! wp_get_consent_type() ) {
		return ''; // it answers yes to everything then
	}
	return wp_has_consent( 'marketing' ) ? 'granted' : 'denied';
}

/**
 * As the connector decides it: where a yes is needed, an absent one is a no; and a no is a no everywhere.
 */
function is_allowed( $consent, $country ) {
	$need = settings( 'consent' );
	if ( '' !== $consent ) {
		return 'granted' === $consent;
	}
	$country = strtoupper( '' === $country ? settings( 'country' ) : $country );
	$abroad  = '' !== $country && ! in_array( $country, $need['europe'], true );
	return 'nowhere' === $need['needed'] || ( 'europe' === $need['needed'] && $abroad );
}

/**
 * What an order's own meta says, which the connector goes by; else the visitor's answer.
 */
function consent_of_order( $order ) {
	$key  = settings( 'consent' )['key'];
	$said = '' === $key ? '' : word( $order->get_meta( $key ) );
	if ( '' === $said ) {
		return consent();
	}
	return in_array( strtolower( $said ), settings( 'consent' )['granted'], true ) ? 'granted' : 'denied';
}

/**
 * The visitor's answer as the connector reads it from meta: none unless there is one and a key for it.
 */
function consent_meta() {
	$key    = settings( 'consent' )['key'];
	$answer = consent();
	if ( '' === $key || '' === $answer ) {
		return array();
	}
	return array( $key => 'granted' === $answer ? settings( 'consent' )['granted'][0] : 'no' );
}

// --- writing it to orders and customers -----------------------------------------------------------------------

/**
 * Classic checkout: the order is saved after this. True if something changed.
 */
function write_to_order( $order ) {
	$country = $order->get_shipping_country() ? $order->get_shipping_country() : $order->get_billing_country();
	$changed = false;
	foreach ( facts( (string) $country ) as $key => $value ) {
		if ( $order->get_meta( $key ) !== $value ) {
			$order->update_meta_data( $key, $value );
			$changed = true;
		}
	}
	return $changed;
}

/**
 * Checkout block: the order is saved already. Saving without need would send a webhook at every keystroke.
 */
function write_to_saved_order( $order ) {
	if ( write_to_order( $order ) ) {
		$order->save();
	}
}

/**
 * Customers' meta reaches webhooks only without a leading underscore.
 */
function write_to_customer( $customer_id ) {
	foreach ( facts( '' ) as $key => $value ) {
		update_user_meta( $customer_id, preg_replace( '/^_tiktok_/', 'tiktok_', $key ), $value );
	}
}

function facts( $country ) {
	return consent_meta() + ( is_allowed( consent(), $country ) ? signals() : array() );
}

/**
 * A renewal is paid for by nobody's click: it gets none of this. Rows (older) or values by key.
 */
function leave_out_of_copy( $meta ) {
	$ours = array( '_tiktok_ttclid', '_tiktok_ttp', SENT, settings( 'consent' )['key'] );
	foreach ( $meta as $key => $value ) {
		if ( in_array( is_array( $value ) && isset( $value['meta_key'] ) ? $value['meta_key'] : $key, $ours, true ) ) {
			unset( $meta[ $key ] );
		}
	}
	return $meta;
}

// --- a checkout -----------------------------------------------------------------------------------------------

/**
 * Tell the connector (WooCommerce has a webhook for an action, none for a checkout) and the pixel.
 */
function start_checkout() {
	static $started = false;
	if ( $started || is_admin() || ! WC()->cart || WC()->cart->is_empty() || ! WC()->session ) {
		return;
	}
	$started = true;
	if ( ! is_allowed( consent(), (string) WC()->customer->get_billing_country() ) ) {
		return;
	}
	$data = checkout_data();
	do_action( 'wc_tiktok_initiate_checkout', fitted( $data ) );
	if ( in_array( 'web', settings( 'include' ), true ) && ! is_excluded( $data['email'], $data['total'], array() ) ) {
		tell_pixel(
			settings( 'events' )['checkout_started'],
			fill(
				settings( 'ids' )['checkout'],
				array(
					'checkout_token' => $data['token'],
					'customer_id'    => identifier( $data['customer_id'] ),
				)
			),
			properties( cart_contents( $data ), $data['currency'], checkout_value( $data ), '' ),
			user( $data['email'], $data['phone'], $data['country'], array( 'customer_id' => identifier( $data['customer_id'] ) ) )
		);
	}
}

function checkout_data() {
	$items = array();
	foreach ( WC()->cart->get_cart() as $row ) {
		if ( ! empty( $row['bundled_by'] ) || ! empty( $row['composite_parent'] ) ) {
			continue; // the bundle stands for its parts
		}
		$items[] = array(
			'product_id'   => $row['product_id'],
			'variation_id' => $row['variation_id'],
			'quantity'     => $row['quantity'],
			'price'        => money_text( $row['data']->get_price() ),
			'sku'          => (string) $row['data']->get_sku(),
			'name'         => (string) $row['data']->get_name(),
		);
	}
	$signals = signals();
	return consent_meta() + array(
		'token'       => checkout_token(),
		'event_time'  => time(),
		'url'         => wc_get_checkout_url(),
		'referrer'    => (string) wp_get_raw_referer(),
		'locale'      => get_locale(),
		'currency'    => get_woocommerce_currency(),
		'total'       => money_text( WC()->cart->get_total( 'edit' ) ),
		'customer_id' => get_current_user_id(),
		'email'       => (string) WC()->customer->get_billing_email(),
		'phone'       => (string) WC()->customer->get_billing_phone(),
		'country'     => (string) WC()->customer->get_billing_country(),
		'ip'          => \WC_Geolocation::get_ip_address(),
		'user_agent'  => wc_get_user_agent(),
		'ttclid'      => isset( $signals['_tiktok_ttclid'] ) ? $signals['_tiktok_ttclid'] : '',
		'ttp'         => isset( $signals['_tiktok_ttp'] ) ? $signals['_tiktok_ttp'] : '',
		'line_items'  => $items,
	);
}

/**
 * Random, and the same until an order is placed: the cart's own hash is shared by all carts with the same content.
 */
function checkout_token() {
	$token = WC()->session->get( TOKEN );
	if ( ! $token ) {
		$token = bin2hex( random_bytes( 16 ) );
		WC()->session->set( TOKEN, $token );
	}
	return $token;
}

function forget_checkout() {
	if ( WC()->session ) {
		WC()->session->set( TOKEN, null );
	}
}

/**
 * The data without what can be missed, until it fits into WordPress's queue; a longer argument is never sent at all.
 */
function fitted( $data ) {
	if ( is_too_long( $data ) ) {
		foreach ( array_keys( $data['line_items'] ) as $index ) {
			unset( $data['line_items'][ $index ]['name'] );
		}
		$data['referrer']   = '';
		$data['user_agent'] = substr( $data['user_agent'], 0, 500 );
	}
	while ( is_too_long( $data ) && $data['line_items'] ) {
		array_pop( $data['line_items'] );
	}
	return $data;
}

function is_too_long( $data ) {
	return strlen( wp_json_encode( $data ) ) > LONGEST;
}

function cart_contents( $data ) {
	$contents = array();
	foreach ( $data['line_items'] as $row ) {
		$contents[] = content( $row['product_id'], $row['variation_id'], $row['sku'], $row['name'], $row['quantity'], (float) $row['price'] );
	}
	return $contents;
}

/**
 * The cart's total, or its items as priced; null where the store wants something off that the connector is not told.
 */
function checkout_value( $data ) {
	if ( 'total' === settings( 'value' )['of'] ) {
		return array_diff( settings( 'value' )['excludes'], array( 'gift_cards' ) ) ? null : (float) $data['total'];
	}
	$sum = 0.0;
	foreach ( $data['line_items'] as $row ) {
		$sum += $row['price'] * quantity( $row['quantity'] );
	}
	return money( $sum );
}

// --- an order -------------------------------------------------------------------------------------------------

/**
 * The order's events for the pixel, each once however often the page is loaded.
 */
function thank_you( $order_id ) {
	$order = wc_get_order( $order_id );
	if ( ! settings( 'pixels' ) || ! $order || ! is_for_browser( $order ) ) {
		return;
	}
	$due = array();
	foreach ( milestones( $order ) as $milestone ) {
		$due = array_merge( $due, settings( 'events' )[ $milestone ] );
	}
	$sent  = json_decode( (string) $order->get_meta( SENT ), true );
	$sent  = is_array( $sent ) ? $sent : array();
	$names = array_values( array_diff( array_unique( $due ), $sent ) );
	$id    = fill( settings( 'ids' )['order'], order_ids( $order ) );
	if ( ! $names || '' === $id ) {
		return;
	}
	$order->update_meta_data( SENT, wp_json_encode( array_merge( $sent, $names ) ) );
	$order->save();
	tell_pixel(
		$names,
		$id,
		properties( order_contents( $order ), $order->get_currency(), order_value( $order ), (string) $order->get_id() ),
		user( (string) $order->get_billing_email(), (string) $order->get_billing_phone(), (string) $order->get_billing_country(), order_ids( $order ) )
	);
}

/**
 * What the connector leaves out, the browser must leave out too.
 */
function is_for_browser( $order ) {
	$country = $order->get_shipping_country() ? $order->get_shipping_country() : $order->get_billing_country();
	return in_array( kind( $order ), settings( 'include' ), true )
		&& ! is_excluded( (string) $order->get_billing_email(), $order->get_total(), gateways( $order ) )
		&& is_allowed( consent_of_order( $order ), (string) $country )
		&& $order->get_date_created()
		&& $order->get_date_created()->getTimestamp() > time() - TOO_OLD;
}

function kind( $order ) {
	$via = strtolower( (string) $order->get_created_via() );
	foreach ( settings( 'renewal_keys' ) as $key ) {
		if ( $order->meta_exists( $key ) ) {
			return 'renewal';
		}
	}
	if ( 'subscription' === $via ) {
		return 'renewal';
	}
	if ( isset( settings( 'kinds' )[ $via ] ) ) {
		return settings( 'kinds' )[ $via ];
	}
	return $order->get_customer_ip_address() && $order->get_customer_user_agent() ? 'web' : 'api';
}

/**
 * 'order_placed', 'order_paid', as the connector sees them in the order's webhook.
 */
function milestones( $order ) {
	$statuses = settings( 'statuses' );
	$status   = $order->get_status();
	$paid     = null !== $order->get_date_paid();
	if ( in_array( $status, $statuses['drafts'], true ) ) {
		return array();
	}
	$gone    = in_array( $status, $statuses['gone'], true );
	$is_paid = in_array( $status, $statuses['paid'], true );
	if ( $statuses['placed'] && ! in_array( $status, $statuses['placed'], true ) && ! $is_paid
		&& ( ! $paid || $statuses['paid'] || $gone ) ) {
		return array();
	}
	$named = $is_paid || ( $statuses['placed'] && in_array( $status, $statuses['placed'], true ) );
	if ( ! $named && ( $gone || ( 'pending' === $status && ! $paid ) ) ) {
		return array();
	}
	$counts = among( gateways( $order ), settings( 'paid_when_placed' ) ) || ( $statuses['paid'] ? $is_paid : $paid );
	return $counts ? array( 'order_placed', 'order_paid' ) : array( 'order_placed' );
}

function gateways( $order ) {
	return array( (string) $order->get_payment_method(), (string) $order->get_payment_method_title() );
}

function order_ids( $order ) {
	$ids = array(
		'order_id'     => identifier( $order->get_id() ),
		'order_number' => identifier( $order->get_order_number() ),
		'order_name'   => identifier( $order->get_order_number() ),
		'customer_id'  => identifier( $order->get_customer_id() ),
	);
	foreach ( settings( 'meta' ) as $key ) {
		$ids[ "meta:$key" ] = word( $order->get_meta( $key ) );
	}
	return $ids;
}

function order_contents( $order ) {
	$contents = array();
	foreach ( $order->get_items() as $item ) {
		if ( $item->get_meta( '_bundled_by' ) || $item->get_meta( '_composite_parent' ) ) {
			continue;
		}
		$product    = $item->get_product();
		$paid       = money( $item->get_total() ) + ( $order->get_prices_include_tax() ? money( $item->get_total_tax() ) : 0 );
		$price      = money( $paid / quantity( $item->get_quantity() ) );
		$sku        = $product ? (string) $product->get_sku() : '';
		$contents[] = content( $item->get_product_id(), $item->get_variation_id(), $sku, $item->get_name(), $item->get_quantity(), $price );
	}
	return $contents;
}

function order_value( $order ) {
	$parts    = order_parts( $order );
	$excludes = settings( 'value' )['excludes'];
	$off      = array();
	foreach ( $excludes as $word ) {
		$off = array_merge( $off, settings( 'value' )['parts'][ $word ] );
	}
	$value = money( $order->get_total() );
	if ( 'items' === settings( 'value' )['of'] ) {
		$goods = $order->get_prices_include_tax() ? array( 'goods', 'goods_tax' ) : array( 'goods' );
		$value = array_sum( array_intersect_key( $parts, array_flip( $goods ) ) );
		$off   = array_intersect( $off, $goods );
	}
	return money( $value - array_sum( array_intersect_key( $parts, array_flip( $off ) ) ) );
}

/**
 * What the total is made of; a tip is a fee by another name.
 */
function order_parts( $order ) {
	$parts = array_fill_keys( array( 'goods', 'goods_tax', 'fees', 'fees_tax', 'tips' ), 0.0 );
	foreach ( $order->get_items() as $item ) {
		$parts['goods']     += money( $item->get_total() );
		$parts['goods_tax'] += money( $item->get_total_tax() );
	}
	foreach ( $order->get_items( 'fee' ) as $fee ) {
		$name                = strtolower( trim( $fee->get_name() ) );
		$tip                 = in_array( $name, settings( 'tips' ), true ) ? 'tips' : 'fees';
		$parts[ $tip ]      += money( $fee->get_total() );
		$parts['fees_tax']  += money( $fee->get_total_tax() );
	}
	$parts['shipping']     = money( $order->get_shipping_total() );
	$parts['shipping_tax'] = money( $order->get_shipping_tax() );
	return $parts;
}

// --- what both have in common ---------------------------------------------------------------------------------

function is_excluded( $email, $total, $gateways ) {
	$exclude = settings( 'exclude' );
	$domain  = strtolower( trim( (string) substr( strrchr( "@$email", '@' ), 1 ) ) );
	foreach ( $exclude['email_domains'] as $end ) {
		if ( $domain === $end || substr( $domain, -strlen( ".$end" ) ) === ".$end" ) {
			return true;
		}
	}
	return ( $exclude['zero'] && 0.0 === money( $total ) ) || among( $gateways, $exclude['gateways'] );
}

function among( $names, $chosen ) {
	foreach ( $names as $name ) {
		if ( in_array( strtolower( trim( $name ) ), $chosen, true ) ) {
			return true;
		}
	}
	return false;
}

function properties( $contents, $currency, $value, $order_id ) {
	$priced = in_array( $currency, settings( 'currencies' ), true );
	$count  = array_sum( array_column( $contents, 'quantity' ) );
	$known  = array();
	foreach ( $contents as $content ) {
		if ( isset( $content['content_id'] ) ) {
			$known[] = $priced ? $content : array_diff_key( $content, array( 'price' => 0 ) );
		}
	}
	$properties = array_filter(
		array(
			'contents'     => $known,
			'content_type' => $known ? settings( 'content_type' ) : '',
			'num_items'    => $count,
			'order_id'     => $order_id,
		)
	);
	if ( $priced ) {
		$properties['currency'] = $currency;
		if ( null !== $value ) {
			$properties['value'] = $value;
		}
	}
	return $properties;
}

function content( $product_id, $variation_id, $sku, $name, $quantity, $price ) {
	$ids = array(
		'product_id' => identifier( $product_id ),
		'variant_id' => identifier( $variation_id ),
		'sku'        => trim( $sku ),
	);
	$id  = '';
	foreach ( settings( 'content_id' ) as $pieces ) {
		$id = '' === $id ? fill( $pieces, $ids ) : $id;
	}
	$name    = trim( html_entity_decode( preg_replace( '/<[^>]{0,500}>/', '', $name ), ENT_QUOTES | ENT_HTML5, 'UTF-8' ) );
	$content = array_filter(
		array(
			'content_id'   => $id,
			'content_name' => $name,
			'quantity'     => quantity( $quantity ),
		)
	);
	return $content + array( 'price' => $price );
}

/**
 * Hashes by the connector's rules. Of phone numbers only those that need no library to be read: with a leading +, or of
 * the United States and Canada; the connector's own copy has the others.
 */
function user( $email, $phone, $country, $ids ) {
	$email  = strtolower( trim( $email ) );
	$digits = preg_replace( '/\D/', '', $phone );
	if ( '+' !== substr( trim( $phone ), 0, 1 ) ) {
		$american = in_array( strtoupper( $country ), array( 'US', 'CA' ), true );
		$digits   = $american && preg_match( '/^1?(\d{10})$/', $digits, $found ) ? '1' . $found[1] : '';
	}
	return array_filter(
		array(
			'email'        => preg_match( '/^[^\s@]+@[^\s@]+\.[^\s@]+$/', $email ) ? hashed( $email ) : '',
			'phone_number' => preg_match( '/^[1-9]\d{6,14}$/', $digits ) ? hashed( "+$digits" ) : '',
			'external_id'  => hashed( fill( settings( 'ids' )['external'], $ids ) ),
		)
	);
}

function hashed( $value ) {
	$value = trim( $value );
	if ( '' === $value || preg_match( '/^[0-9a-f]{64}$/i', $value ) ) {
		return strtolower( $value );
	}
	return hash( 'sha256', $value );
}

/**
 * A template's texts and names by turns; '' if one of the names has no value here.
 */
function fill( $pieces, $known ) {
	foreach ( $pieces as $at => $piece ) {
		if ( $at % 2 ) {
			$pieces[ $at ] = isset( $known[ $piece ] ) ? $known[ $piece ] : '';
			if ( '' === $pieces[ $at ] ) {
				return '';
			}
		}
	}
	return implode( '', $pieces );
}

function identifier( $id ) {
	$id = trim( (string) $id );
	return '0' === $id ? '' : $id;
}

function word( $value ) {
	return is_scalar( $value ) ? identifier( true === $value ? 'true' : $value ) : '';
}

function quantity( $quantity ) {
	return max( 1, (int) $quantity );
}

function money( $amount ) {
	return (float) money_text( $amount );
}

function money_text( $amount ) {
	return wc_format_decimal( $amount, wc_get_price_decimals() );
}

// --- the pixel ------------------------------------------------------------------------------------------------

/**
 * To be printed at the page's end, when the page's own TikTok code, if any, has been.
 */
function tell_pixel( $names, $id, $properties, $user ) {
	global $tiktok_connector_page;
	if ( settings( 'pixels' ) && $names && '' !== $id ) {
		$tiktok_connector_page = array(
			'pixels'           => settings( 'pixels' ),
			'limited_data_use' => settings( 'limited_data_use' ),
			'names'            => $names,
			'id'               => $id,
			'properties'       => $properties,
			'user'             => $user,
		);
	}
}

function print_pixel() {
	global $tiktok_connector_page;
	if ( $tiktok_connector_page ) {
		print_script( PIXEL, $tiktok_connector_page );
	}
}

function print_script( $script, $settings ) {
	$json = wp_json_encode( $settings, JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS | JSON_HEX_QUOT );
	echo "<script>\n" . $script . '(' . $json . ");\n</script>\n"; // phpcs:ignore
}

// --- TikTok's own plugin --------------------------------------------------------------------------------------

/**
 * Its Purchase and InitiateCheckout have random ids, so TikTok would count them beside ours. Its catalogue, Pageview,
 * ViewContent and AddToCart stay.
 */
function unhook_official_plugin() {
	$hooks = array(
		'woocommerce_payment_complete'             => 'inject_purchase_event',
		'woocommerce_thankyou'                     => 'inject_purchase_event',
		'woocommerce_after_checkout_form'          => 'inject_initiate_checkout_event',
		'woocommerce_blocks_checkout_enqueue_data' => 'inject_initiate_checkout_event',
		'woocommerce_before_checkout_form'         => 'inject_start_checkout', // its older versions
	);
	foreach ( $hooks as $hook => $method ) {
		$priority = has_action( $hook, array( 'Tt4b_Pixel_Class', $method ) );
		if ( false !== $priority ) {
			remove_action( $hook, array( 'Tt4b_Pixel_Class', $method ), $priority );
		}
	}
}
