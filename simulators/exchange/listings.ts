/**
 * Quiet products beside the ten busy ones: id, name, price level of August 2026 in the quote currency, one a line. Those
 * on the exchange's list then have its price; the levels of the others are of the same order.
 */
const TABLE = `
1INCH-USD 1inch 0.11
AAVE-USD Aave 92.4
ADA-EUR Cardano 0.1711
AERO-USD Aerodrome Finance 0.42117
ALGO-USD Algorand 0.08415
ANKR-USD Ankr 0.0049
APE-USD ApeCoin 0.112
APT-USD Aptos 0.5997
ARB-USD Arbitrum 0.0796
ATOM-USD Cosmos 1.954
AVAX-EUR Avalanche 5.69
AXS-USD Axie Infinity 0.91
BAT-USD Basic Attention Token 0.128
BCH-EUR Bitcoin Cash 186.5
BCH-USD Bitcoin Cash 215.65
BLUR-USD Blur 0.0212
BNB-USD BNB 541.7
BONK-USD Bonk 0.00000251
BTC-GBP Bitcoin 48180
CBETH-USD Coinbase Wrapped Staked ETH 2180.55
CHZ-USD Chiliz 0.0214
COMP-USD Compound 17.32
CRO-USD Cronos 0.0671
CRV-USD Curve DAO Token 0.2411
CVX-USD Convex Finance 1.608
DASH-USD Dash 38.12
DOGE-EUR Dogecoin 0.0616
DOT-EUR Polkadot 1.402
DOT-USD Polkadot 1.621
EGLD-USD MultiversX 4.82
EIGEN-USD EigenCloud 0.179
ENA-USD Ethena 0.1124
ENS-USD Ethereum Name Service 6.21
ETC-USD Ethereum Classic 8.94
ETH-BTC Ethereum 0.02948
ETH-EUR Ethereum 1660.53
ETH-GBP Ethereum 1422.1
EURC-USD EURC 1.1572
FARTCOIN-USD Fartcoin 0.1344
FET-USD Artificial Superintelligence Alliance 0.1921
FIL-USD Filecoin 0.713
FLOKI-USD FLOKI 0.0000294
FLOW-USD Flow 0.0812
FLR-USD Flare 0.00609
GRT-USD The Graph 0.0273
HBAR-USD Hedera 0.06933
HYPE-USD Hyperliquid 28.41
ICP-USD Internet Computer 2.214
IMX-USD Immutable X 0.1312
INJ-USD Injective 4.421
IOTX-USD IoTeX 0.00673
JASMY-USD Jasmy 0.00404
JTO-USD Jito 0.312
JUP-USD Jupiter 0.1523
KAITO-USD Kaito 0.6825
KSM-USD Kusama 6.13
LDO-USD Lido DAO Token 0.288
LINK-EUR Chainlink 7.283
LPT-USD Livepeer 3.21
LRC-USD Loopring 0.0413
LTC-EUR Litecoin 47.02
MANA-USD Decentraland 0.0834
MASK-USD Mask Network 0.513
MINA-USD Mina 0.0621
MORPHO-USD Morpho 1.9321
NEAR-USD NEAR Protocol 1.212
NMR-USD Numeraire 8.57
ONDO-USD Ondo 0.3121
OP-USD Optimism 0.09
PAXG-USD PAX Gold 4021.3
PENDLE-USD Pendle 1.412
PENGU-USD Pudgy Penguins 0.00812
PEPE-USD Pepe 0.00000293
POL-USD Polygon Ecosystem Token 0.0777
POPCAT-USD Popcat 0.0513
PUMP-USD Pump.fun 0.002677
PYTH-USD Pyth Network 0.0417
QNT-USD Quant 68.12
RENDER-USD Render 1.328
ROSE-USD Oasis Network 0.0121
RSR-USD Reserve Rights 0.001252
S-USD Sonic 0.02388
SAND-USD The Sandbox 0.0582
SEI-USD Sei 0.0553
SHIB-EUR SHIBA INU 0.00000405
SHIB-USD SHIBA INU 0.00000468
SKY-USD Sky 0.05365
SNX-USD Synthetix 0.3312
SOL-EUR Solana 66.73
SOL-GBP Solana 57.12
SPX-USD SPX6900 0.3242
STRK-USD Starknet Token 0.02482
STX-USD Stacks 0.132
SUI-EUR Sui 0.884
SUI-USD Sui 1.022
SUSHI-USD SushiSwap 0.2013
SYRUP-USD Maple Finance 0.1521
TAO-USD Bittensor 211.4
TIA-USD Celestia 0.3276
TON-USD Toncoin 1.312
TRUMP-USD OFFICIAL TRUMP 1.51
TRX-USD TRON 0.2812
TURBO-USD Turbo 0.000889
UNI-EUR Uniswap 3.512
UNI-USD Uniswap 4.053
USD1-USD World Liberty Financial USD 0.9999
USDT-EUR Tether 0.86448
USDT-USD Tether 0.99932
VET-USD VeChain 0.00851
W-USD Wormhole 0.0312
WIF-USD dogwifhat 0.1921
WLD-USD Worldcoin 0.3211
WLFI-USD World Liberty Financial 0.05291
XLM-EUR Stellar 0.1384
XLM-USD Stellar 0.1603
XRP-EUR XRP 0.9006
XTZ-USD Tezos 0.4213
YFI-USD yearn.finance 2911.5
ZEC-USD Zcash 516.2
ZK-USD ZKsync 0.0184
ZRO-USD LayerZero 0.854
ZRX-USD 0x 0.1123
`

export type Listing = { id: string; name: string; price: number; priceDecimals: number }

/** About five digits of a price are shown, two decimals at least. */
const decimalsOf = (price: number): number =>
  price >= 10 ? 2 : price >= 1 ? 3 : price >= 0.1 ? 4 : price >= 0.01 ? 5 : price >= 0.001 ? 6 : 10

export const LISTINGS: readonly Listing[] = TABLE.trim()
  .split('\n')
  .map((line) => {
    const [, id, name, level] = /^(\S+) (.+) (\S+)$/.exec(line) as unknown as [string, string, string, string]
    const price = Number(level)
    return { id, name, price, priceDecimals: decimalsOf(price) }
  })
