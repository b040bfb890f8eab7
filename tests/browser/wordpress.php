<?php
/**
 * As much of WordPress and WooCommerce as the plugin meets, acting as theirs do. Usage: php wordpress.php PLUGIN < cases.json
 *
 * A case says what there is (cookies, an order as its webhook has it, a cart, a consent banner) and which hooks run; the
 * answer is what came of it: printed HTML, fired actions, cookies, meta, how often an order was saved.
 */

error_reporting( E_ALL );
set_error_handler( function ( $number, $text, $file, $line ) {
	throw new ErrorException( $text, 0, $number, $file, $line );
} );
define( 'ABSPATH', __DIR__ );

// Each case has a process of its own, forked from this one: half of the time is gone when PHP has started.
foreach ( json_decode( stream_get_contents( STDIN ), true ) as $case ) {
	$child = pcntl_fork();
	if ( 0 === $child ) {
		break;
	}
	pcntl_waitpid( $child, $status );
	if ( 0 !== $status ) {
		exit( 1 );
	}
	echo "\n";
}
if ( 0 !== $child ) {
	exit;
}
$case   += array(
	'get'     => array(),
	'cookies' => array(),
	'order'   => null,
	'orders'  => array(), // the shop's other orders
	'cart'    => array(),
	'person'  => array(),
	'session' => array(),
	'consent' => null,
	'decimals' => 2,
	'currency' => 'USD',
	'steps'   => array(),
	'official' => false,
	'page'   => null,    // the product whose page it is, {"search": "words"}, or neither
	'server' => array(), // of $_SERVER, beyond what a visit of a page has
	'down'   => false,   // the connector does not answer
	'transients' => array(),
	'filters' => array(), // of other plugins: a list each, which ours may change
	'late'   => false, // the page's head is sent already, and the page is none that WooCommerce knows as a checkout
);
$_GET    = $case['get'];
$_COOKIE = array_map( 'wp_slash', $case['cookies'] );
$_SERVER = $case['server'] + array(
	'REQUEST_METHOD' => 'GET',
	'HTTP_HOST'      => 'shop.example.test',
	'REQUEST_URI'    => '/product/mug/?a=1',
	'HTTP_REFERER'   => 'https://shop.example.test/shop/',
) + $_SERVER;
$report  = array( 'fired' => array(), 'users' => array(), 'set' => array(), 'posts' => array() );
if ( ! empty( $case['rest'] ) ) {
	define( 'REST_REQUEST', true );
}

// What the plugin asks PHP itself: whether the page's head is sent, and to set a cookie.
eval( 'namespace TikTok_Connector;
function headers_sent() {
	global $case;
	return $case["late"];
}
function setcookie( $name, $value, $how ) {
	global $report;
	$report["set"][] = array( "name" => $name, "value" => $value ) + $how;
}' );

// --- hooks

$hooks = array();

function add_filter( $hook, $callback, $priority = 10, $arguments = 1 ) {
	global $hooks;
	$hooks[ $hook ][ $priority ][] = array( $callback, $arguments );
	return true;
}

function add_action( $hook, $callback, $priority = 10, $arguments = 1 ) {
	return add_filter( $hook, $callback, $priority, $arguments );
}

function has_action( $hook, $callback ) {
	global $hooks;
	foreach ( isset( $hooks[ $hook ] ) ? $hooks[ $hook ] : array() as $priority => $rows ) {
		foreach ( $rows as $row ) {
			if ( $row[0] === $callback ) {
				return $priority;
			}
		}
	}
	return false;
}

function remove_action( $hook, $callback, $priority = 10 ) {
	global $hooks;
	foreach ( isset( $hooks[ $hook ][ $priority ] ) ? $hooks[ $hook ][ $priority ] : array() as $at => $row ) {
		if ( $row[0] === $callback ) {
			unset( $hooks[ $hook ][ $priority ][ $at ] );
		}
	}
}

function apply_filters( $hook, $value = null ) {
	global $hooks;
	$given = array_slice( func_get_args(), 1 );
	$rows  = isset( $hooks[ $hook ] ) ? $hooks[ $hook ] : array();
	ksort( $rows );
	foreach ( array_merge( array(), ...array_values( $rows ) ) as $row ) {
		$given[0] = call_user_func_array( $row[0], array_slice( $given, 0, $row[1] ) );
	}
	return isset( $given[0] ) ? $given[0] : null;
}

function do_action( $hook ) {
	global $hooks, $report;
	$given = array_slice( func_get_args(), 1 );
	if ( 'wc_tiktok_initiate_checkout' === $hook ) {
		$report['fired'][] = $given[0];
	}
	$rows = isset( $hooks[ $hook ] ) ? $hooks[ $hook ] : array();
	ksort( $rows );
	foreach ( array_merge( array(), ...array_values( $rows ) ) as $row ) {
		call_user_func_array( $row[0], array_slice( $given, 0, $row[1] ) );
	}
}

// --- WordPress

function is_admin() {
	return false;
}
function is_checkout() {
	global $case;
	return (bool) $case['cart'] && ! $case['late'];
}
function is_wc_endpoint_url() {
	return false;
}
function current_user_can( $right ) {
	global $case;
	return 'manage_woocommerce' === $right && 1 === get_current_user_id();
}
function register_rest_route( $space, $route, $how ) {
	global $report;
	$report['routes'][ "$space$route" ] = $how['permission_callback']() ? $how['callback']() : null;
}
function is_ssl() {
	return true;
}
function wp_unslash( $value ) {
	return is_string( $value ) ? stripslashes( $value ) : $value;
}
function wp_slash( $value ) {
	return is_string( $value ) ? addslashes( $value ) : $value;
}
function wp_doing_ajax() {
	return false;
}
function is_preview() {
	return false;
}
function is_product() {
	global $case;
	return isset( $case['page']['id'] );
}
function is_search() {
	global $case;
	return isset( $case['page']['search'] );
}
function is_paged() {
	global $case;
	return ! empty( $case['page']['paged'] );
}
function get_search_query( $escaped ) {
	global $case;
	return $case['page']['search'];
}
function get_queried_object_id() {
	global $case;
	return $case['page']['id'];
}
function home_url() {
	return 'https://shop.example.test';
}
function esc_url_raw( $url ) {
	return $url;
}
function get_transient( $name ) {
	global $case;
	return isset( $case['transients'][ $name ] ) ? $case['transients'][ $name ] : false;
}
function set_transient( $name, $value, $seconds ) {
	global $case;
	$case['transients'][ $name ] = $value;
}
function wp_remote_post( $url, $how ) {
	global $case, $report;
	$report['posts'][] = array( 'url' => $url ) + $how;
	return $case['down'] ? new WP_Error() : array( 'response' => array( 'code' => 204 ) );
}
class WP_Error {
}
function is_wp_error( $answer ) {
	return $answer instanceof WP_Error;
}
function wp_send_json( $answer ) {
	global $report;
	$report['answer'] = $answer;
	throw new Answered();
}
class Answered extends Exception {
}
function wp_print_inline_script_tag( $code, $attributes = array() ) {
	$attributes = apply_filters( 'wp_inline_script_attributes', $attributes, $code );
	$written    = '';
	foreach ( $attributes as $name => $value ) {
		$written .= true === $value ? " $name" : " $name=\"$value\"";
	}
	echo "<script$written>\n" . trim( $code ) . "\n</script>\n";
}
function wp_json_encode( $data, $flags = 0 ) {
	return json_encode( $data, $flags );
}
function wp_get_raw_referer() {
	return 'https://shop.example.test/cart/';
}
function get_locale() {
	return 'en_US';
}
function get_current_user_id() {
	global $case;
	return isset( $case['person']['id'] ) ? $case['person']['id'] : 0;
}
function update_user_meta( $user, $key, $value ) {
	global $report;
	$report['users'][ $user ][ $key ] = $value;
}

// Of the plugin WP Consent API: there only where a case has a banner.
if ( is_array( $case['consent'] ) ) {
	function wp_get_consent_type() {
		global $case;
		return $case['consent']['type'];
	}
	function wp_has_consent( $category ) {
		global $case;
		return '' === $case['consent']['type'] || in_array( $category, $case['consent']['given'], true );
	}
}

// --- WooCommerce

function wc_get_price_decimals() {
	global $case;
	return $case['decimals'];
}
function wc_format_decimal( $number, $decimals ) {
	return number_format( round( (float) $number, $decimals ), $decimals, '.', '' );
}
function wc_get_checkout_url() {
	return 'https://shop.example.test/checkout/';
}
function get_woocommerce_currency() {
	global $case;
	return $case['currency'];
}
function wc_get_user_agent() {
	return 'Mozilla/5.0 (Linux; Android 15) Example/1.0';
}
function wc_get_product( $id ) {
	global $case;
	return new Product( $case['page'] );
}
class WC_AJAX {
	public static function get_endpoint( $name ) {
		return "/?wc-ajax=$name";
	}
}
class WC_Geolocation {
	public static function get_ip_address() {
		return '8.8.4.4';
	}
}

/**
 * Session, customer and cart answer by the case.
 */
class Till {
	public $cart;
	public $session;
	public $customer;

	public function __construct() {
		$this->cart     = $this;
		$this->session  = $this;
		$this->customer = $this;
	}
	public function is_empty() {
		global $case;
		return ! $case['cart'];
	}
	public function get_cart() {
		global $case;
		return array_map(
			function ( $row ) {
				return array( 'data' => new Product( $row ) ) + $row;
			},
			$case['cart']
		);
	}
	public function get_cart_item( $key ) {
		$rows = $this->get_cart();
		return isset( $rows[ $key ] ) ? $rows[ $key ] : array();
	}
	public function get_total( $context ) {
		global $case;
		$sum = 5.99;
		foreach ( $case['cart'] as $row ) {
			$sum += $row['price'] * $row['quantity'];
		}
		return $sum;
	}
	public function get( $key ) {
		global $case;
		return isset( $case['session'][ $key ] ) ? $case['session'][ $key ] : null;
	}
	public function set( $key, $value ) {
		global $case;
		$case['session'][ $key ] = $value;
	}
	public function __call( $name, $arguments ) {
		global $case;
		$field = str_replace( 'get_billing_', '', $name );
		return isset( $case['person'][ $field ] ) ? $case['person'][ $field ] : '';
	}
}

function WC() {
	static $till = null;
	$till        = $till ? $till : new Till();
	return $till;
}

class Product {
	private $row;
	public function __construct( $row ) {
		$this->row = $row;
	}
	public function get_sku() {
		return isset( $this->row['sku'] ) ? $this->row['sku'] : '';
	}
	public function get_name() {
		return $this->row['name'];
	}
	public function get_price() {
		return (string) $this->row['price'];
	}
	public function get_id() {
		return $this->row['id'];
	}
	public function is_type( $type ) {
		return ( isset( $this->row['type'] ) ? $this->row['type'] : 'simple' ) === $type;
	}
}

/**
 * What orders and their lines have in common: properties by their names in the REST API, and meta.
 */
class Record {
	public $row;
	public $saved = 0;

	public function __construct( $row ) {
		$this->row = $row;
	}
	public function get_meta( $key ) {
		foreach ( array_reverse( $this->row['meta_data'] ) as $meta ) {
			if ( $meta['key'] === $key ) {
				return $meta['value'];
			}
		}
		return '';
	}
	public function meta_exists( $key ) {
		return in_array( $key, array_column( $this->row['meta_data'], 'key' ), true );
	}
	public function update_meta_data( $key, $value ) {
		$this->row['meta_data'][] = array(
			'id'    => 900 + count( $this->row['meta_data'] ),
			'key'   => $key,
			'value' => $value,
		);
	}
	public function save() {
		++$this->saved;
	}
	public function get_product() {
		return null === $this->row['sku'] ? false : new Product( $this->row );
	}
	public function get_items( $type = 'line_item' ) {
		return array_map(
			function ( $row ) {
				return new Record( $row + array( 'meta_data' => array() ) );
			},
			$this->row[ 'fee' === $type ? 'fee_lines' : 'line_items' ]
		);
	}
	public function get_date_created() {
		return $this->date( 'date_created_gmt' );
	}
	public function get_date_paid() {
		return $this->date( 'date_paid_gmt' );
	}
	private function date( $name ) {
		return $this->row[ $name ] ? new DateTime( $this->row[ $name ], new DateTimeZone( 'UTC' ) ) : null;
	}
	public function get_order_number() {
		return $this->row['number'];
	}
	public function __call( $name, $arguments ) {
		$field = substr( $name, 4 );
		foreach ( array( 'billing', 'shipping' ) as $which ) {
			$part = str_replace( "{$which}_", '', $field );
			if ( $part !== $field && is_array( $this->row[ $which ] ?? null ) && isset( $this->row[ $which ][ $part ] ) ) {
				return $this->row[ $which ][ $part ];
			}
		}
		if ( ! array_key_exists( $field, $this->row ) ) {
			throw new BadMethodCallException( "neither WooCommerce's orders nor this one have $name()" );
		}
		return $this->row[ $field ];
	}
}

function wc_get_order( $id ) {
	global $order;
	return $order && ( $order === $id || $order->row['id'] === $id ) ? $order : false;
}

function wc_get_order_statuses() {
	$names = array( 'pending', 'processing', 'on-hold', 'completed', 'cancelled', 'refunded', 'failed', 'checkout-draft', 'shipped' );
	return array_combine( array_map( function ( $name ) { return "wc-$name"; }, $names ), $names );
}
function wc_get_orders( $query ) {
	global $case;
	$found = array();
	foreach ( $case['orders'] as $row ) {
		$same = true;
		foreach ( array( 'customer_id', 'billing_email' ) as $name ) {
			$same = $same && ( ! isset( $query[ $name ] ) || 0 === strcasecmp( (string) $query[ $name ], (string) ( $row[ $name ] ?? '' ) ) );
		}
		if ( $same && in_array( $row['status'], $query['status'], true ) && ! in_array( $row['id'], $query['exclude'], true ) ) {
			$found[] = $row['id'];
		}
	}
	return array_slice( $found, 0, $query['limit'] );
}

$order = $case['order'] ? new Record( $case['order'] ) : null;

// --- TikTok's own plugin, loaded after ours as WordPress does with mu-plugins

require $argv[1];

if ( $case['official'] ) {
	class Tt4b_Pixel_Class {
		public static function __callStatic( $name, $arguments ) {
			echo "<!-- official $name -->\n";
		}
	}
	$theirs = array(
		'woocommerce_add_to_cart'                    => 'inject_add_to_cart_event',
		'woocommerce_before_single_product_summary'  => 'inject_view_content_event',
		'woocommerce_after_single_product'           => 'inject_view_content_event', // in its older versions
		'woocommerce_payment_complete'               => 'inject_purchase_event',
		'woocommerce_thankyou'                       => 'inject_purchase_event',
		'woocommerce_after_checkout_form'            => 'inject_initiate_checkout_event',
		'woocommerce_blocks_checkout_enqueue_data'   => 'inject_initiate_checkout_event',
		'wp_head'                                    => 'print_script',
	);
	foreach ( $theirs as $hook => $method ) {
		add_action( $hook, array( 'Tt4b_Pixel_Class', $method ) );
	}
}

// --- the steps

foreach ( $case['filters'] as $hook => $given ) {
	$report['filtered_lists'][ $hook ] = apply_filters( $hook, $given );
}
if ( isset( $case['nonce'] ) ) {
	add_filter( 'wp_inline_script_attributes', function ( $attributes ) {
		global $case;
		return $attributes + array( 'nonce' => $case['nonce'] );
	} );
}
ob_start();
do_action( 'wp_loaded' );
foreach ( $case['steps'] as $step ) {
	$arguments = array_slice( $step, 1 );
	foreach ( $arguments as $at => $argument ) {
		$arguments[ $at ] = 'ORDER' === $argument ? $order : $argument;
	}
	if ( 0 === strpos( $step[0], 'filter:' ) ) {
		$report['filtered'][] = apply_filters( substr( $step[0], 7 ), ...$arguments );
	} else {
		try {
			do_action( $step[0], ...$arguments );
		} catch ( Answered $end ) {
			break; // WordPress ends here
		}
	}
}
$report['html']    = ob_get_clean();
$report['session'] = $case['session'];
$report['cookies'] = array_map( 'wp_unslash', $_COOKIE );
$report['transients'] = $case['transients'];
$report['meta']    = $order ? $order->row['meta_data'] : array();
$report['saved']   = $order ? $order->saved : 0;
echo json_encode( $report );
