/** Whether the receiver can be reached by a new connection, while old ones hang. */
import type { Ticket } from '../../../common/trust/ticket.ts';
import { makeConnector } from './connector.ts';

/** One connection at a time is enough for all who ask. */
export class Reachability {
  readonly #connect: () => Promise<boolean>;
  #underWay: Promise<boolean> | undefined;

  constructor(ticket: Ticket) {
    const connect = makeConnector(ticket.pin, () => {});
    const place = { hostname: ticket.host, protocol: 'https:', port: String(ticket.port) };
    this.#connect = async () =>
      await new Promise((resolve) => {
        connect(place, (error, socket) => {
          socket?.destroy();
          resolve(error === null);
        });
      });
  }

  /** TCP, TLS and the pin; no request. Takes as long as connecting may. */
  async isReachable(): Promise<boolean> {
    this.#underWay ??= this.#connect();
    try {
      return await this.#underWay;
    } finally {
      this.#underWay = undefined;
    }
  }
}
