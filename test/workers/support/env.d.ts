declare namespace Cloudflare {
  /** The settings that tests add to the environment. */
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
    /** The file's database as the owner of its tables. */
    ADMIN_DATABASE_URL: string
    /** Accepts the mails of the file's Worker; GET returns them. */
    MAIL_URL: string
    /** A simulated Supabase Auth, for Workers that `getWith` gives its address. */
    TEST_SUPABASE_URL: string
    TEST_SUPABASE_ANON_KEY: string
  }
}
