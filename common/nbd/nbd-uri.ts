/** Names of NBD exports, as the NBD project writes them (its doc/uri.md). Pure. */
import { resolve } from 'node:path';
import { TransferError } from '../errors.ts';
import { formatHostPort } from '../host-port.ts';
import { parseWhole } from '../units.ts';
import { EXPORT_NAME_BYTES_MAX } from './nbd-wire.ts';

/** Assigned by IANA. */
const PORT_DEFAULT = '10809';
const PORT_MAX = 65_535;
const EXAMPLES = 'nbd://host:10809/export, nbds://host/export or nbd+unix:///export?socket=/run/nbd.sock';
const PARAMETERS = ['socket', 'tls-certificates', 'tls-hostname'];

export type NbdPlace =
  | { readonly host: string; readonly port: number }
  /** Of a Unix socket. */
  | { readonly path: string };

export interface NbdTlsNames {
  /** That the server's certificate must have. */
  readonly serverName: string;
  /** With `ca-cert.pem`, and perhaps `client-cert.pem` and `client-key.pem`; undefined: the system's. */
  readonly certificatesFolder: string | undefined;
}

export interface NbdAddress {
  /** One spelling for one export: what journals and messages call it. */
  readonly name: string;
  readonly place: NbdPlace;
  readonly exportName: string;
  /** undefined: no encryption. */
  readonly tls: NbdTlsNames | undefined;
}

/** Whether the text means to be such a name. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(\+[a-z]+)?:\/\//i.test(text);
}

/** @throws TransferError `usage`. */
export function parseNbdUri(text: string): NbdAddress {
  const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/([^]*)$/i.exec(text) ?? [];
  const [, authority = '', path = '', query = '', fragment] =
    /^([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?(#[^]*)?$/.exec(rest) ?? [];
  const kind = /^(nbds?)(\+unix)?$/.exec(scheme.toLowerCase());
  if (kind === null) refuse(text, `there is no ${scheme}`);
  if (fragment !== undefined) refuse(text, 'it has a # in it: write %23');
  const [isTls, isUnix] = [kind[1] === 'nbds', kind[2] !== undefined];
  const parameters = parseQuery(text, query);
  const place = isUnix ? socketOf(text, authority, parameters) : hostOf(text, authority, parameters);
  const exportName = decode(text, path.slice(1));
  if (Buffer.byteLength(exportName) > EXPORT_NAME_BYTES_MAX)
    refuse(text, 'the name of the export is too long');
  const tls = isTls ? tlsOf(text, place, parameters) : undefined;
  if (!isTls && (parameters.has('tls-certificates') || parameters.has('tls-hostname'))) {
    refuse(text, `without encryption there are no tls- parameters: write ${isUnix ? 'nbds+unix' : 'nbds'}:`);
  }
  const encoded = encodeURIComponent(exportName).replaceAll('%2F', '/');
  const where = 'path' in place ? '' : formatHostPort(place.host, place.port);
  const socket = 'path' in place ? `?socket=${encodeURIComponent(place.path).replaceAll('%2F', '/')}` : '';
  return { name: `${kind[0]}://${where}/${encoded}${socket}`, place, exportName, tls };
}

function parseQuery(text: string, query: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const pair of query === '' ? [] : query.split('&')) {
    const [name = '', ...rest] = pair.split('=');
    if (!PARAMETERS.includes(name)) refuse(text, `${name} is not known; what is: ${PARAMETERS.join(', ')}`);
    if (found.has(name)) refuse(text, `it has ${name} twice`);
    found.set(name, decode(text, rest.join('=')));
  }
  return found;
}

function socketOf(text: string, authority: string, parameters: ReadonlyMap<string, string>): NbdPlace {
  const path = parameters.get('socket') ?? '';
  if (authority !== '') refuse(text, 'a Unix socket has no host: write three slashes');
  if (path === '') refuse(text, '?socket=<path> is missing');
  return { path: resolve(path) };
}

function hostOf(text: string, authority: string, parameters: ReadonlyMap<string, string>): NbdPlace {
  if (authority.includes('@')) refuse(text, 'keys of users (tls-psk-file) are not supported');
  if (parameters.has('socket')) refuse(text, 'a socket needs nbd+unix: or nbds+unix:');
  const [, bracketed, name, port = PORT_DEFAULT] =
    /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/.exec(authority) ?? [];
  const host = bracketed ?? name;
  if (host === undefined) refuse(text, 'it names no host');
  return { host: host.toLowerCase(), port: parseWhole(port, 'NBD port', 1, PORT_MAX) };
}

function tlsOf(text: string, place: NbdPlace, parameters: ReadonlyMap<string, string>): NbdTlsNames {
  const serverName = parameters.get('tls-hostname') ?? ('host' in place ? place.host : '');
  if (serverName === '') {
    refuse(text, 'a socket has no name to compare with the certificate: add &tls-hostname=<name>');
  }
  return { serverName, certificatesFolder: parameters.get('tls-certificates') };
}

function decode(text: string, part: string): string {
  try {
    const decoded = decodeURIComponent(part);
    if (!decoded.includes('\0')) return decoded;
  } catch {
    // A lone % or no UTF-8.
  }
  return refuse(text, `'${part}' is not percent-encoded text`);
}

function refuse(text: string, reason: string): never {
  throw new TransferError('usage', `cannot read '${text}': ${reason}`, { hint: `for example ${EXAMPLES}` });
}
