/** A request before it is bytes, and what makes one odd. */

/** 2xx, anything but 2xx, or either; an overloaded receiver may refuse any of them. */
export type Outcome = 'accepted' | 'refused' | 'any';
/** Of blocks, as SHA-256 in hexadecimal digits. */
export type Writes = readonly (readonly [index: number, hex: string])[];

/** A request before it is bytes. */
export interface Draft {
  method: string;
  path: string;
  query: string[];
  headers: [name: string, value: string][];
  body: Buffer | undefined;
  outcome: Outcome;
  writes: Writes;
  strays: string[];
  /** Contents in it: garbled, it may lose what has it refused. */
  offered: string[];
  isChunked: boolean;
}

export const ODD_METHODS = [
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'HEAD',
  'POST',
  'PUT',
] as const;
export const ODD_PATHS = [
  '/',
  '*',
  '/blocks/01',
  '/blocks/-1',
  '/%62locks',
  '/blocks/1/',
  '//',
  '/blocks/99999999999',
] as const;
type Header = readonly [name: string, value: string];
export const ODD_HEADERS: readonly [Header, ...Header[]] = [
  ['transfer-encoding', 'chunked'],
  ['transfer-encoding', 'gzip, chunked'],
  ['content-length', '5'],
  ['content-length', '-1'],
  ['content-length', '99999999999999'],
  ['host', 'y'],
  ['expect', '200-ok'],
  ['expect', '100-continue'],
  ['connection', 'upgrade'],
  ['upgrade', 'h2c'],
  ['content-encoding', 'br'],
  ['ddt-source-errors', '0+512'],
  ['ddt-sender', ''],
  ['range', 'bytes=0-0'],
  ['authorization', 'Bearer x'],
  ['x', 'y'.repeat(5000)],
  ['x', 'y'.repeat(20_000)],
  ['x\u0001', 'y'],
  ['x', '\u009b31m'],
];

export function draftOf(method: string, path: string): Draft {
  const headers: Draft['headers'] = [['host', 'x']];
  return {
    method,
    path,
    query: [],
    headers,
    body: undefined,
    outcome: 'any',
    writes: [],
    strays: [],
    offered: [],
    isChunked: false,
  };
}

export function bytesOf({ method, path, query, headers, body, isChunked }: Draft): Buffer {
  const target = query.length === 0 ? path : `${path}?${query.join('&')}`;
  const length = isChunked ? 'transfer-encoding: chunked' : `content-length: ${body?.length ?? 0}`;
  const lines = [...headers.map(([name, value]) => `${name}: ${value}`), length];
  const head = Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (body === undefined) return head;
  if (!isChunked) return Buffer.concat([head, body]);
  const half = body.length >> 1;
  const chunks = [body.subarray(0, half), body.subarray(half)].filter((chunk) => chunk.length > 0);
  const framed = chunks.flatMap((chunk) => [`${chunk.length.toString(16)}\r\n`, chunk, '\r\n']);
  return Buffer.concat([head, ...framed.map((part) => Buffer.from(part)), Buffer.from('0\r\n\r\n')]);
}

export function percentEncoded(text: string): string {
  return [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}
