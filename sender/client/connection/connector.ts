/**
 * TLS connections to the receiver and to nobody else: the pin is checked before a byte of a request leaves.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { buildConnector } from 'undici';
import { OWN_CIPHERS } from '../../../common/trust/ciphers.ts';
import { TCP_KEEP_ALIVE_MS } from '../../../common/protocol/protocol.ts';
import { TransferError } from '../../../common/errors.ts';
import { pinOfPublicKey } from '../../../common/trust/ticket.ts';

/** Connecting takes two round trips; behind the full queue of a slow line each is some nine seconds. */
const CONNECT_TIMEOUT_MS = 30_000;
/**
 * A name may have several addresses, which are tried one after the other. Node's half second ends each
 * attempt but the last on a line of 600 ms: where the last address is a dead one, none would come about.
 */
const ADDRESS_TIMEOUT_MS = 10_000;

/**
 * The pin is checked here and not in `checkServerIdentity`: Node does not call that when the chain is not
 * trusted, nor on resumed TLS sessions, which are off (`maxCachedSessions: 0`).
 * @param onSocket is told of each connection that passed.
 */
export function makeConnector(pin: string, onSocket: (socket: Socket) => void): buildConnector.connector {
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
  return (options, callback) => {
    connect(options, (error, socket) => {
      if (error !== null) {
        callback(error, null);
        return;
      }
      const refusal = checkPin(socket, pin);
      if (refusal !== undefined) {
        socket.destroy();
        callback(refusal, null);
        return;
      }
      onSocket(socket);
      callback(null, socket);
    });
  };
}

function checkPin(socket: Socket, pin: string): TransferError | undefined {
  const key = socket instanceof TLSSocket ? socket.getPeerX509Certificate()?.publicKey : undefined;
  const present = key === undefined ? 'none' : pinOfPublicKey(key);
  if (present === pin) return undefined;
  const { remoteAddress, remotePort } = socket;
  return new TransferError(
    'pin-mismatch',
    `${remoteAddress}:${remotePort} is not the receiver of this ticket: its pin is ${present}, not ${pin}`,
    { hint: 'check the address; if the receiver was installed anew, use the ticket that it prints now' },
  );
}
