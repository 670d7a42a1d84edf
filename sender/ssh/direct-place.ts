/** Which of several addresses leads straight to a receiver. */
import type { Socket } from 'node:net';
import { makeConnector, type Transport } from '../client/connection/connector.ts';
import type { Ticket } from '../../common/trust/ticket.ts';

/** For the receiver's own port to answer. */
const DIRECT_MS_MAX = 10_000;

/** Where the receiver's port may be reached. */
export interface DirectPlace {
  readonly host: string;
  /** undefined: the one that it listens on. */
  readonly port?: number | undefined;
}

/** Does the TLS handshake over a transport, and checks the pin. */
export type Secure = (transport: Transport) => Promise<Socket>;

export function transportTo({ host, port }: DirectPlace, ticket: Ticket): Transport {
  return { hostname: host, port: String(port ?? ticket.port) };
}

/** TLS and the pin, for a connection that carries no request. */
export function plainly(pin: string): Secure {
  const connect = (transport: Transport): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const connector = makeConnector(
        pin,
        () => {},
        async (secure) => await secure(transport),
      );
      connector({ hostname: 'far', protocol: 'https:', port: '443' }, (error, socket) => {
        if (error === null) resolve(socket);
        else reject(error);
      });
    });
  return connect;
}

/** The first place that has the receiver of the ticket; undefined if none answers in time. */
export async function findDirect(
  places: readonly DirectPlace[],
  ticket: Ticket,
): Promise<DirectPlace | undefined> {
  const found = Promise.withResolvers<DirectPlace | undefined>();
  const timer = setTimeout(() => found.resolve(undefined), DIRECT_MS_MAX);
  const tries = places.map(async (place) => {
    const socket = await plainly(ticket.pin)(transportTo(place, ticket));
    socket.destroy();
    found.resolve(place);
  });
  void Promise.allSettled(tries).then(() => found.resolve(undefined));
  const place = await found.promise;
  clearTimeout(timer);
  return place;
}
