/** A machine in the middle of the line that damages, swallows and cuts. It sees TLS records and no more. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { OWN_HOST } from './processes.ts';

/**
 * What becomes of a piece on its way: itself, another one, or `cut`: it is swallowed and the connection
 * reset.
 * @param answer counts, over all connections, the answers that have begun: how often the direction changed
 * from sender → receiver to back, without the two times that a handshake of TLS 1.3 takes.
 */
export type Meddle = (piece: Buffer, way: 'to-receiver' | 'to-sender', answer: number) => Buffer | 'cut';

/** The server's half of the handshake; then its session tickets, which may come in the midst of a request. */
const HANDSHAKE_TURNS = 2;

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #answers = 0;

  private constructor(to: { readonly host: string; readonly port: number }, meddle: Meddle) {
    this.#server = createServer((near) => this.#join(near, connect(to), meddle));
  }

  static async start(
    to: { readonly host: string; readonly port: number },
    meddle: Meddle,
  ): Promise<TcpProxy> {
    const proxy = new TcpProxy(to, meddle);
    proxy.#server.listen(0, OWN_HOST);
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    await closed;
  }

  #join(near: Socket, far: Socket, meddle: Meddle): void {
    let isAsked = false;
    let turns = 0;
    const pass = (way: 'to-receiver' | 'to-sender', out: Socket): ((piece: Buffer) => void) => {
      return (piece) => {
        if (way === 'to-sender' && isAsked && ++turns > HANDSHAKE_TURNS) this.#answers++;
        isAsked = way === 'to-receiver';
        const passed = meddle(piece, way, turns > HANDSHAKE_TURNS ? this.#answers : 0);
        if (passed === 'cut') {
          near.resetAndDestroy();
          far.resetAndDestroy();
        } else out.write(passed);
      };
    };
    near.on('data', pass('to-receiver', far));
    far.on('data', pass('to-sender', near));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#open.add(one);
      one.on('error', () => {});
      one.on('end', () => other.end());
      one.once('close', () => {
        this.#open.delete(one);
        other.destroy();
      });
    }
  }
}
