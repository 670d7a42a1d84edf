/**
 * How many connections an address may open. A TLS handshake takes about a millisecond of the only thread, so
 * addresses that have never shown a good token get few of them, each for itself and all together.
 */

/** Tokens that come back at a steady rate, up to `burst` of them. */
export interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

export interface QuotaLimits {
  /** For one address, or one IPv6 network, without a good token yet: who starts needs one connection. */
  readonly strange: Allowance;
  /** For all those addresses together: an IPv6 customer has 65,536 networks. */
  readonly strangeTotal: Allowance;
  /** For an address that has shown a good token: a sender reconnects 64 lanes, curl for each block. */
  readonly familiar: Allowance;
}

export const QUOTA_LIMITS: QuotaLimits = {
  strange: { burst: 8, perSecond: 4 },
  strangeTotal: { burst: 64, perSecond: 32 },
  familiar: { burst: 256, perSecond: 128 },
};
/** Networks that are remembered. One that is forgotten starts over with a full allowance. */
const NETWORKS_MAX = 1024;
/** Of those that have shown a good token: a transfer has one sender, and people who look at it. */
const FAMILIAR_NETWORKS_MAX = 64;

/**
 * Connections that a flood costs its address: ten seconds of them. Before it is noticed, each flood takes a
 * tenth of a second of the only thread.
 */
const FLOOD_PENALTY = 40;

interface Balance {
  tokens: number;
  atMs: number;
}

export class ConnectionQuota {
  readonly #limits: QuotaLimits;
  readonly #strange = new Map<string, Balance>();
  readonly #familiar = new Map<string, Balance>();
  readonly #total: Balance = { tokens: Infinity, atMs: 0 };

  constructor(limits: QuotaLimits) {
    this.#limits = limits;
  }

  /** @returns whether this network may open another connection now. */
  take(network: string, nowMs: number): boolean {
    const familiar = this.#familiar.get(network);
    if (familiar !== undefined) return spend(familiar, this.#limits.familiar, nowMs);
    const own = this.#strange.get(network) ?? { tokens: Infinity, atMs: nowMs };
    if (!spend(own, this.#limits.strange, nowMs)) return false;
    keepNewest(this.#strange, network, own, NETWORKS_MAX);
    return spend(this.#total, this.#limits.strangeTotal, nowMs);
  }

  isFamiliar(network: string): boolean {
    return this.#familiar.has(network);
  }

  /** It has flooded a connection. One that has shown a good token keeps its allowance. */
  punish(network: string): void {
    const own = this.#strange.get(network);
    if (own !== undefined) own.tokens -= FLOOD_PENALTY;
  }

  /** It has shown a good token. */
  befriend(network: string, nowMs: number): void {
    const balance = this.#familiar.get(network) ?? { tokens: Infinity, atMs: nowMs };
    keepNewest(this.#familiar, network, balance, FAMILIAR_NETWORKS_MAX);
  }
}

function spend(balance: Balance, { burst, perSecond }: Allowance, nowMs: number): boolean {
  balance.tokens = Math.min(burst, balance.tokens + ((nowMs - balance.atMs) * perSecond) / 1000);
  balance.atMs = nowMs;
  if (balance.tokens < 1) return false;
  balance.tokens--;
  return true;
}

/** Maps keep the order of insertion. */
function keepNewest(map: Map<string, Balance>, network: string, balance: Balance, max: number): void {
  map.delete(network);
  map.set(network, balance);
  if (map.size <= max) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    return;
  }
}

/**
 * @param address as a socket names it, with a zone perhaps.
 * @returns an IPv4 address itself, also one in IPv6 form; of an IPv6 address its /64, which one customer has
 * for himself: `2001:db8:0:1::/64`.
 */
export function networkOf(address: string): string {
  const plain = address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/, '');
  if (!plain.includes(':')) return plain;
  const [head = '', tail] = plain.split('::');
  const groups = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - groups.length - after.length;
  const all = [...groups, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...after];
  return `${all.slice(0, 4).join(':')}::/64`;
}
