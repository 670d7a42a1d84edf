/** `host:port` as people write it, IPv6 addresses in brackets. Pure. */
import { TransferError } from './errors.ts';
import { parseWhole } from './units.ts';

const PORT_MAX = 65_535;
const IPV6 = '[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*';
const HOST_PORT = new RegExp(`^(?:\\[(${IPV6})\\]|([A-Za-z0-9._-]+))(?::(\\d{1,5}))?$|^(${IPV6})$`);

/**
 * `host`, `host:port`, `[::1]`, `[::1]:port` or `::1`; the host comes back without brackets.
 * @param option the value belongs to, for messages. @throws TransferError `usage`.
 */
export function parseHostPort(text: string, option: string): { host: string; port: number | undefined } {
  const [, bracketed, name, port, bare] = HOST_PORT.exec(text) ?? [];
  const host = bracketed ?? name ?? bare;
  if (host === undefined) {
    throw new TransferError('usage', `${option} '${text}' is not host[:port]`, {
      hint: `for example ${option} vm.example.org:8443 or ${option} [2001:db8::7]:8443`,
    });
  }
  return { host, port: port === undefined ? undefined : parseWhole(port, `${option} port`, 1, PORT_MAX) };
}

export function formatHostPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Where a receiver listens that this program starts: firewalls are opened for this port. */
export const LISTEN_USUAL = ':8443';
/** Any other, where that one is taken. */
export const LISTEN_FREE = ':0';
