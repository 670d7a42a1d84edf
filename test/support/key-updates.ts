/**
 * TLS 1.3 key updates (RFC 8446, 4.6.3), which no TLS library sends by the million: 27 bytes each, no data.
 * They are made from the keys that Node tells of its own connection.
 */
import { createCipheriv, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';

const CIPHER = { name: 'TLS_AES_128_GCM_SHA256', algorithm: 'aes-128-gcm', hash: 'sha256' } as const;
const KEY_BYTES = 16;
const IV_BYTES = 12;
const HASH_BYTES = 32;
const APPLICATION_DATA = 23;
const HANDSHAKE = 22;
const KEY_UPDATE = 24;

export interface KeyUpdater {
  readonly tls: TLSSocket;
  /** The next so many key updates; each asks for one in return. */
  next(count: number): Buffer;
  /** Sends as they are. @returns whether more can be sent at once. */
  send(bytes: Buffer): boolean;
  readonly raw: Socket;
}

/** @param head is sent, as data, before the first key update. */
export async function connectKeyUpdater(
  place: { readonly host: string; readonly port: number; readonly localAddress?: string },
  head = '',
): Promise<KeyUpdater> {
  const raw = connectTcp(place);
  raw.on('error', () => {});
  await once(raw, 'connect');
  const tls = connectTls({ socket: raw, rejectUnauthorized: false, ciphers: CIPHER.name });
  tls.on('error', () => {});
  let secret: Buffer = Buffer.alloc(0);
  tls.on('keylog', (line) => {
    const found = /^CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)/.exec(line.toString());
    if (found !== null) secret = Buffer.from(found[1] ?? '', 'hex');
  });
  await once(tls, 'secureConnect');
  // The end of the handshake is written just after this event.
  await new Promise<void>((resolve) => setImmediate(resolve));
  // One record of data, if any: the first key update is the next one.
  let sequence = 0;
  if (head !== '') {
    await new Promise<void>((resolve) => tls.write(head, () => resolve()));
    sequence = 1;
  }
  const update = (): Buffer => {
    const record = keyUpdateRecord(secret, sequence);
    secret = expand(secret, 'traffic upd', HASH_BYTES);
    sequence = 0;
    return record;
  };
  return {
    tls,
    raw,
    next: (count) => Buffer.concat(Array.from({ length: count }, update)),
    send: (bytes) => raw.write(bytes),
  };
}

function keyUpdateRecord(secret: Buffer, sequence: number): Buffer {
  const iv = expand(secret, 'iv', IV_BYTES);
  iv.writeUInt32BE((iv.readUInt32BE(IV_BYTES - 4) ^ sequence) >>> 0, IV_BYTES - 4);
  const cipher = createCipheriv(CIPHER.algorithm, expand(secret, 'key', KEY_BYTES), iv);
  const plain = Buffer.from([KEY_UPDATE, 0, 0, 1, 1, HANDSHAKE]);
  const header = Buffer.from([APPLICATION_DATA, 3, 3, 0, plain.length + 16]);
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** HKDF-Expand-Label with an empty context; one hash is always enough. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return createHmac(CIPHER.hash, secret).update(info).digest().subarray(0, length);
}
