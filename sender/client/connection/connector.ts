/** TLS connections to the receiver and nobody else: the pin is checked before a byte of a request leaves. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';
import { OWN_CIPHERS } from '../../../common/trust/ciphers.ts';
import { TCP_KEEP_ALIVE_MS } from '../../../common/protocol/protocol.ts';
import { TransferError, errnoOf } from '../../../common/errors.ts';
import { pinOfPublicKey } from '../../../common/trust/ticket.ts';

/**
 * Connecting takes two round trips; behind the full queue of a slow line each of them takes some nine
 * seconds.
 */
const CONNECT_TIMEOUT_MS = 30_000;
/**
 * The addresses of a name are tried one after the other. Node's default of half a second would end every
 * attempt but the last on a line of 600 ms: if the last address is dead, none would succeed.
 */
const ADDRESS_TIMEOUT_MS = 10_000;

/** What OpenSSL reports when the peer is not a TLS 1.3 server. Damage on the line can look the same. */
const MISSING_PROTOCOL: Readonly<Record<string, string>> = {
  ERR_SSL_WRONG_VERSION_NUMBER: 'TLS',
  ERR_SSL_UNEXPECTED_MESSAGE: 'TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'TLS',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'TLS 1.3',
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: 'TLS 1.3',
  'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE': 'TLS 1.3',
};

/** @returns the protocol that the peer does not speak; undefined if the error does not say that. */
export function protocolMissingBy(error: unknown): string | undefined {
  return MISSING_PROTOCOL[errnoOf(error) ?? ''];
}

/** What TLS runs over, if not a TCP connection to the address in the ticket. */
export type Transport =
  | { readonly hostname: string; readonly port: string }
  | { readonly httpSocket: Socket };

/**
 * Brings the transport for each connection.
 * @param secure does the TLS handshake over it, and checks the pin. @throws Error of the connection.
 */
export type Dial = (secure: (transport: Transport) => Promise<Socket>) => Promise<Socket>;

/**
 * The pin is checked here and not in `checkServerIdentity`: Node does not call that when the chain is not
 * trusted, nor on resumed TLS sessions, which are off (`maxCachedSessions: 0`).
 * @param onSocket called with each connection that passed.
 */
export function makeConnector(
  pin: string,
  onSocket: (socket: Socket) => void,
  dial?: Dial,
): buildConnector.connector {
  const connect = buildConnector({
    rejectUnauthorized: false,
    allowH2: false,
    maxCachedSessions: 0,
    minVersion: 'TLSv1.3',
    ciphers: OWN_CIPHERS,
    timeout: CONNECT_TIMEOUT_MS,
    autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
  });
  const secure = async (options: buildConnector.Options): Promise<Socket> =>
    await new Promise((resolve, reject) => {
      connect(options, (error, socket) => {
        const failure = error ?? checkPin(socket, pin);
        if (failure === undefined) resolve(socket as Socket);
        else {
          socket?.destroy();
          reject(failure);
        }
      });
    });
  const open = async (options: buildConnector.Options): Promise<Socket> => {
    if (dial === undefined) return await secure(options);
    return await dial(async (transport) => await secure({ ...options, ...transport }));
  };
  return (options, callback) => {
    void settle(open(options), callback, onSocket);
  };
}

async function settle(
  opening: Promise<Socket>,
  callback: buildConnector.Callback,
  onSocket: (socket: Socket) => void,
): Promise<void> {
  let socket: Socket;
  try {
    socket = await opening;
  } catch (error) {
    callback(error instanceof Error ? error : new Error(String(error)), null);
    return;
  }
  onSocket(socket);
  callback(null, socket);
}

function checkPin(socket: Socket | null, pin: string): TransferError | undefined {
  const key = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.publicKey : undefined;
  const found = key === undefined ? 'none' : pinOfPublicKey(key);
  if (found === pin) return undefined;
  const { remoteAddress, remotePort } = socket ?? {};
  const peer = remoteAddress === undefined ? 'what answers through ssh' : `${remoteAddress}:${remotePort}`;
  return new TransferError(
    'pin-mismatch',
    `${peer} is not the receiver of this ticket: its pin is ${found}, not ${pin}`,
    { hint: 'check the address; if the receiver was reinstalled, use the ticket that it prints now' },
  );
}
