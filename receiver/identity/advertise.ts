/** The address that a ticket names when the operator names none. */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';

/** The facts that an address is chosen from; tests make up their own. */
export interface NetworkView {
  /** IPv4 addresses that are not loopback, by interface. */
  readonly ipv4: ReadonlyMap<string, string>;
  /** The interface of the IPv4 default route. */
  readonly ipv4Route: string | undefined;
  /** /proc/net/if_inet6 and /proc/net/ipv6_route, empty where there is no IPv6. */
  readonly ifInet6: string;
  readonly ipv6Route: string;
}

/**
 * The address that the receiver listens on. If that is every address: the IPv4 address of the interface with
 * the default route, another IPv4 address, an IPv6 address that others can reach, or loopback.
 */
export async function defaultAdvertiseHost(listenHost: string, network?: NetworkView): Promise<string> {
  if (listenHost !== '0.0.0.0' && listenHost !== '::') return listenHost;
  const view = network ?? (await networkOfThisMachine());
  const onRoute = view.ipv4Route === undefined ? undefined : view.ipv4.get(view.ipv4Route);
  const [other] = view.ipv4.values();
  const ipv6 = listenHost === '::' ? reachableIpv6(view) : undefined;
  return onRoute ?? other ?? ipv6 ?? '127.0.0.1';
}

async function networkOfThisMachine(): Promise<NetworkView> {
  const ipv4 = new Map<string, string>();
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    const found = addresses?.find(({ family, internal }) => family === 'IPv4' && !internal);
    if (found !== undefined) ipv4.set(name, found.address);
  }
  const read = async (name: string): Promise<string> =>
    await readFile(`/proc/net/${name}`, 'utf8').catch(() => '');
  const routes = (await read('route')).split('\n').map((line) => line.split('\t'));
  const ipv4Route = routes.find((fields) => fields[1] === '00000000' && fields[7] === '00000000')?.[0];
  return { ipv4, ipv4Route, ifInet6: await read('if_inet6'), ipv6Route: await read('ipv6_route') };
}

/** Flags in /proc/net/if_inet6 (linux/if_addr.h) of addresses that expire soon or can't be used (yet). */
const IFA_TEMPORARY = 0x01;
const IFA_DADFAILED = 0x08;
const IFA_DEPRECATED = 0x20;
const IFA_TENTATIVE = 0x40;
const UNSUITABLE = IFA_TEMPORARY | IFA_DADFAILED | IFA_DEPRECATED | IFA_TENTATIVE;
const SCOPE_GLOBAL = 0;

/** Global before unique local addresses, the default route's interface before others. */
function reachableIpv6({ ifInet6, ipv6Route }: NetworkView): string | undefined {
  const routes = ipv6Route.split('\n').map((line) => line.trim().split(/\s+/));
  const isDefault = ([destination = '', prefix]: readonly string[]): boolean =>
    /^0{32}$/.test(destination) && prefix === '00';
  const route = routes.find((fields) => isDefault(fields) && fields[9] !== 'lo')?.[9];
  const candidates: { address: string; rank: number }[] = [];
  for (const line of ifInet6.split('\n')) {
    const [digits = '', , , scope = '', flags = '', name] = line.trim().split(/\s+/);
    if (digits.length !== 32 || parseInt(scope, 16) !== SCOPE_GLOBAL) continue;
    if ((parseInt(flags, 16) & UNSUITABLE) !== 0) continue;
    const address = shortestForm(digits);
    candidates.push({ address, rank: (isPrivateAddress(address) ? 2 : 0) + (name === route ? 0 : 1) });
  }
  return candidates.sort((a, b) => a.rank - b.rank)[0]?.address;
}

/** RFC 5952, as URL writes it. */
function shortestForm(digits: string): string {
  const groups = digits.match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

/** Whether it is an address that the internet can't reach: RFC 1918, RFC 6598, RFC 4193. */
export function isPrivateAddress(host: string): boolean {
  return (
    /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)/.test(host) ||
    /^f[cd][0-9a-f]{2}:/i.test(host)
  );
}
