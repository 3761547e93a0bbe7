export default { fetch: () => new Response('kerb') }
export { DurableObject as ProductCandles, DurableObject as FeedSlots } from 'cloudflare:workers'
