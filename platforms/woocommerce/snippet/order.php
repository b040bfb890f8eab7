<?php
// Part of plugin.php.

namespace TikTok_Connector;

// --- an order -------------------------------------------------------------------------------------------------

/**
 * Give the order's events to the pixel, each only once even if the page is loaded again.
 */
function thank_you( $order_id ) {
	$order = wc_get_order( $order_id );
	if ( ! settings( 'pixels' ) || ! $order || ! is_for_browser( $order ) ) {
		return;
	}
	$sent    = json_decode( (string) $order->get_meta( SENT ), true );
	$sent    = is_array( $sent ) ? $sent : array();
	$names   = names_by_pixel( milestones( $order ), kind( $order ), country_of( $order ), $order->get_currency(), $sent );
	$id      = fill( settings( 'ids' )['order'], order_ids( $order ) );
	if ( ! $names || '' === $id ) {
		return;
	}
	$new = array_values( array_unique( array_merge( array(), ...array_values( $names ) ) ) );
	$order->update_meta_data( SENT, wp_json_encode( array_merge( $sent, $new ) ) );
	$order->save();
	set_page_event(
		$names,
		$id,
		properties( order_contents( $order ), $order->get_currency(), order_value( $order ), (string) $order->get_id() ),
		user( (string) $order->get_billing_email(), (string) $order->get_billing_phone(), (string) $order->get_billing_country(), order_ids( $order ) ),
		false
	);
}

/**
 * Return true if the browser sends this order: it leaves out what the connector leaves out.
 */
function is_for_browser( $order ) {
	return in_array( kind( $order ), settings( 'include' ), true )
		&& ! is_excluded( (string) $order->get_billing_email(), $order->get_total(), gateways( $order ) )
		&& is_allowed( consent_of_order( $order ), country_of( $order ) )
		&& placed_at( $order ) > time() - TOO_OLD;
}

function country_of( $order ) {
	return (string) ( $order->get_shipping_country() ? $order->get_shipping_country() : $order->get_billing_country() );
}

/**
 * Return when the order was placed, in Unix seconds: of the checkout block's what `write_time` wrote.
 */
function placed_at( $order ) {
	$created = $order->get_date_created();
	$written = (int) word( $order->get_meta( PLACED ) );
	return $written ? $written : ( $created ? $created->getTimestamp() : 0 );
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
 * Return 'order_placed' and 'order_paid' by the connector's rules for the order's webhook.
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
	$configured = $is_paid || ( $statuses['placed'] && in_array( $status, $statuses['placed'], true ) );
	if ( ! $configured && ( $gone || ( 'pending' === $status && ! $paid ) ) ) {
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
	return money( max( 0, $value - array_sum( array_intersect_key( $parts, array_flip( $off ) ) ) ) );
}

/**
 * Return the parts of the total; a tip is a fee with one of several names.
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

// --- for orders and checkouts ---------------------------------------------------------------------------------

/**
 * Return the names of the milestones' events, without those already sent, by the code of each pixel that takes one: by the
 * conditions that the connector applies to its copy.
 */
function names_by_pixel( $milestones, $kind, $country, $currency, $sent = array() ) {
	$facts = array(
		'kinds'      => $kind,
		'countries'  => strtoupper( '' === $country ? settings( 'country' ) : $country ),
		'currencies' => $currency,
	);
	$found = array();
	foreach ( settings( 'pixels' ) as $code ) {
		$names = array();
		foreach ( $milestones as $milestone ) {
			if ( takes( $code, $facts + array( 'milestones' => $milestone ) ) ) {
				$names = array_merge( $names, names_of( $milestone, $kind ) );
			}
		}
		$found[ $code ] = array_values( array_diff( array_unique( $names ), $sent ) );
	}
	return array_filter( $found );
}

function takes( $code, $facts ) {
	$routes = settings( 'routes' );
	foreach ( isset( $routes[ $code ] ) ? $routes[ $code ] : array() as $condition => $allowed ) {
		if ( $allowed && ! in_array( $facts[ $condition ], $allowed, true ) ) {
			return false;
		}
	}
	return true;
}

function names_of( $milestone, $kind ) {
	$of_kinds = settings( 'events_of_kinds' );
	return isset( $of_kinds[ $kind ][ $milestone ] ) ? $of_kinds[ $kind ][ $milestone ] : settings( 'events' )[ $milestone ];
}

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

	$ids['item_id'] = '' === $ids['variant_id'] ? $ids['product_id'] : $ids['variant_id'];

	$id = '';
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
 * Hash match keys by the connector's rules. Phone numbers only with a leading + or of the United States and Canada;
 * others need the connector's library and are in the connector's copy alone.
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
 * Fill a template; $pieces alternates texts and names. '' if a name has no value.
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
