<?php
// Part of plugin.php.

namespace TikTok_Connector;

// --- plugins that delay or join scripts -----------------------------------------------------------------------

/**
 * Leave our script as it is: it would run late or never, and a joined file would store what is this page's own. By the
 * filters and attributes that each plugin documents.
 */
function leave_our_script_alone() {
	$lists = array(
		'rocket_delay_js_exclusions',                     // WP Rocket
		'rocket_defer_inline_exclusions',
		'rocket_excluded_inline_js_content',
		'litespeed_optimize_js_excludes',                 // LiteSpeed Cache
		'litespeed_optm_js_defer_exc',
		'litespeed_optm_gm_js_exc',
		'flying_press_exclude_from_delay:js',             // FlyingPress
		'flying_press_exclude_from_defer:js',
		'flying_press_exclude_from_minify:js',
		'perfmatters_delay_js_exclusions',                // Perfmatters
		'perfmatters_defer_js_exclusions',
		'perfmatters_minify_js_exclusions',
		'sgo_javascript_combine_excluded_inline_content', // SiteGround Speed Optimizer
	);
	foreach ( $lists as $list ) {
		on( $list, 'with_our_script' );
	}
	on( 'autoptimize_filter_js_exclude', 'with_our_script' ); // Autoptimize, whose list is a text
}

function with_our_script( $excluded ) {
	if ( is_string( $excluded ) ) {
		return '' === $excluded ? OURS : $excluded . "," . OURS;
	}
	$excluded   = is_array( $excluded ) ? $excluded : array();
	$excluded[] = OURS;
	return $excluded;
}

/**
 * Print a script. WordPress's own function lets a plugin that sets a Content-Security-Policy add its nonce.
 */
function print_script( $code ) {
	$left_alone = array(
		'data-no-optimize' => '1',     // LiteSpeed Cache
		'data-no-defer'    => '1',
		'data-noptimize'   => '1',     // Autoptimize
		'data-cfasync'     => 'false', // Cloudflare's Rocket Loader
		'nowprocket'       => true,    // WP Rocket
	);
	wp_print_inline_script_tag( $code, $left_alone );
}

/**
 * Print the script that notes, in the page alone, which events other code gives to the store's pixels.
 */
function print_watch() {
	print_script( WATCH . '(' . page_json( array( 'meter' => settings( 'meter' ) ) ) . ');' );
}

function page_json( $data ) {
	return wp_json_encode( $data, JSON_HEX_TAG | JSON_HEX_AMP | JSON_HEX_APOS | JSON_HEX_QUOT );
}

// --- TikTok's own plugin --------------------------------------------------------------------------------------

/**
 * Remove the events that it sends and this file, too: its ids are random, so TikTok would count both. Its catalogue and
 * Pageview stay, and so do its ViewContent and AddToCart where this file sends none.
 */
function unhook_official_plugin() {
	$purchase = array(
		'woocommerce_payment_complete' => 'inject_purchase_event',
		'woocommerce_thankyou'         => 'inject_purchase_event',
	);
	$checkout = array(
		'woocommerce_after_checkout_form'          => 'inject_initiate_checkout_event',
		'woocommerce_blocks_checkout_enqueue_data' => 'inject_initiate_checkout_event',
		'woocommerce_before_checkout_form'         => 'inject_start_checkout', // older versions
	);
	$viewed   = array(
		'woocommerce_before_single_product_summary' => 'inject_view_content_event',
		'woocommerce_after_single_product'          => 'inject_view_content_event', // older versions
	);
	$added    = array( 'woocommerce_add_to_cart' => 'inject_add_to_cart_event' );
	$twice    = array_merge( $purchase, $checkout, is_on( 'product_viewed' ) ? $viewed : array(), is_on( 'cart_added' ) ? $added : array() );
	foreach ( $twice as $hook => $method ) {
		$priority = has_action( $hook, array( 'Tt4b_Pixel_Class', $method ) );
		if ( false !== $priority ) {
			remove_action( $hook, array( 'Tt4b_Pixel_Class', $method ), $priority );
		}
	}
}
