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

// {checkout}

// {order}

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
