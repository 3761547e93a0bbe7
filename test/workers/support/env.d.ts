declare namespace Cloudflare {
  /** What the tests add to the environment. */
  interface Env {
    COINBASE_WS_URL: string
    /** The test file's own simulated exchange, its control paths included. */
    COINBASE_REST_URL: string
    COINBASE_EXCHANGE_URL: string
    YAHOO_URL: string
    BINANCE_URL: string
    TWELVEDATA_URL: string
    COINMARKETCAP_URL: string
    /** The file's own fake providers: control paths `/_requests`, `/_faults`, `/_prices`. */
    PROVIDERS_URL: string
    /** POST `{"open": false}` cuts the file's database off, `{"open": true}` lets it back in. */
    DATABASE_SWITCH_URL: string
    ADMIN_DATABASE_URL: string
    /** Takes the mails of the file's Worker; GET tells them. */
    MAIL_URL: string
    /** A simulated Supabase Auth, for Workers that are told of it by `getWith`. */
    TEST_SUPABASE_URL: string
    TEST_SUPABASE_ANON_KEY: string
  }
}
