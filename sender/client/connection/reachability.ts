/** Whether a new connection gets through to the receiver while old ones hang. */
import { SingleFlight } from '../../../common/single-flight.ts';
import type { Ticket } from '../../../common/trust/ticket.ts';
import { makeConnector, type Dial } from './connector.ts';

/** For all connections of a run: one attempt serves every lane that asks meanwhile. */
export class Reachability {
  readonly #attempt: SingleFlight<boolean>;

  constructor(ticket: Ticket, dial?: Dial) {
    const connect = makeConnector(ticket.pin, () => {}, dial);
    const place = { hostname: ticket.host, protocol: 'https:', port: String(ticket.port) };
    this.#attempt = new SingleFlight(
      async () =>
        await new Promise((resolve) => {
          connect(place, (error, socket) => {
            socket?.destroy();
            resolve(error === null);
          });
        }),
    );
  }

  /** TCP, TLS and the pin, without a request. Takes as long as connecting may. */
  async isReachable(): Promise<boolean> {
    return await this.#attempt.run();
  }
}
