<?php
// Part of plugin.php.

namespace TikTok_Connector;

// --- a checkout -----------------------------------------------------------------------------------------------

/**
 * Send the checkout to the connector (by an action, as WooCommerce has no webhook for checkouts) and to the pixel.
 */
function start_checkout() {
	static $started = false;
	if ( $started || ! may_start() ) {
		return;
	}
	$started = true;
	$data    = checkout_data();
	do_action( 'wc_tiktok_initiate_checkout', fitted( $data ) );
	if ( in_array( 'web', settings( 'include' ), true ) && ! is_excluded( $data['email'], $data['total'], array() ) ) {
		set_page_event(
			names_by_pixel( array( 'checkout_started' ), 'web', $data['country'], $data['currency'] ),
			fill(
				settings( 'ids' )['checkout'],
				array(
					'checkout_token' => $data['token'],
					'customer_id'    => identifier( $data['customer_id'] ),
				)
			),
			properties( cart_contents( $data ), $data['currency'], checkout_value( $data ), '' ),
			user( $data['email'], $data['phone'], $data['country'], array( 'customer_id' => identifier( $data['customer_id'] ) ) ),
			true
		);
	}
}

/**
 * Name the checkout before the page is sent, while a cookie can be set.
 */
function name_checkout() {
	if ( function_exists( 'is_checkout' ) && is_checkout() && ! is_wc_endpoint_url() && may_start() ) {
		checkout_token();
	}
}

function may_start() {
	return ! is_admin() && WC()->cart && ! WC()->cart->is_empty() && WC()->session
		&& is_allowed( consent(), (string) WC()->customer->get_billing_country() );
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
 * Return a random token, the same until an order is placed; the cart's hash is the same in carts of equal content. It is
 * a cookie: a request of the page before, such as the mini cart's, can overwrite the session with an older one. The
 * session is for checkouts on pages that WooCommerce does not know as such, where no cookie can be set any more.
 */
function checkout_token() {
	$token = cookie( TOKEN );
	if ( preg_match( '/^[0-9a-f]{32}$/', $token ) ) {
		return $token;
	}
	$token = bin2hex( random_bytes( 16 ) );
	if ( ! keep_cookie( TOKEN, $token, OPEN ) ) {
		$kept  = WC()->session->get( TOKEN );
		$token = $kept ? $kept : $token;
		WC()->session->set( TOKEN, $token );
	}
	return $token;
}

function forget_checkout() {
	keep_cookie( TOKEN, '', 0 );
	if ( WC()->session ) {
		WC()->session->set( TOKEN, null );
	}
}

/**
 * Shorten the data until it fits into WordPress's queue, which never sends a longer argument: names first, then what is
 * longer than TikTok's or a person's, then lines, then the longest. Only the token always stays.
 */
function fitted( $data ) {
	if ( is_too_long( $data ) ) {
		foreach ( array_keys( $data['line_items'] ) as $index ) {
			unset( $data['line_items'][ $index ]['name'] );
		}
		$data['referrer']   = '';
		$data['user_agent'] = substr( $data['user_agent'], 0, 500 );
		foreach ( $data as $key => $value ) {
			if ( 'ttclid' !== $key && is_string( $value ) && strlen( $value ) > 500 ) {
				$data[ $key ] = '';
			}
		}
	}
	while ( is_too_long( $data ) && $data['line_items'] ) {
		array_pop( $data['line_items'] );
	}
	while ( is_too_long( $data ) ) {
		$lengths = array_map( 'strlen', array_map( 'wp_json_encode', array_diff_key( $data, array( 'token' => 0 ) ) ) );
		$data[ array_search( max( $lengths ), $lengths, true ) ] = '';
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
 * Return the cart's total or the sum of its items; null if it excludes parts that the connector's webhook lacks.
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
