/** The address that a ticket names when the operator names none. */
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';

/**
 * The address listened on, or, when that is every address, the IPv4 address of the interface of the default
 * route (/proc/net/route, proc(5)), or the first address that is not loopback.
 */
export async function defaultAdvertiseHost(listenHost: string): Promise<string> {
  if (listenHost !== '0.0.0.0' && listenHost !== '::') return listenHost;
  const interfaces = networkInterfaces();
  const name = await defaultRouteInterface();
  const addressOf = (entry: string): string | undefined =>
    interfaces[entry]?.find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  const candidates = [...(name === undefined ? [] : [name]), ...Object.keys(interfaces)];
  return candidates.map(addressOf).find((address) => address !== undefined) ?? '127.0.0.1';
}

async function defaultRouteInterface(): Promise<string | undefined> {
  try {
    const lines = (await readFile('/proc/net/route', 'utf8')).split('\n').slice(1);
    const fields = lines.map((line) => line.split('\t'));
    return fields.find(
      ([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000',
    )?.[0];
  } catch {
    return undefined;
  }
}

/** RFC 1918 and RFC 6598: an address that the internet does not reach. */
export function isPrivateAddress(host: string): boolean {
  return /^(10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.)/.test(host);
}
