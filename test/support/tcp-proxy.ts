/** A machine in the middle of the line that damages, swallows and cuts. It sees TLS records and no more. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { OWN_HOST } from './processes.ts';

/**
 * What becomes of a piece on its way: itself, another one, or `cut`: it is swallowed and the connection
 * reset.
 * @param turn counts, over all connections, how often the direction changed from sender → receiver to back:
 * each answer begins a new one.
 */
export type Meddle = (piece: Buffer, way: 'to-receiver' | 'to-sender', turn: number) => Buffer | 'cut';

export class TcpProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #turn = 0;

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
    const pass = (way: 'to-receiver' | 'to-sender', out: Socket): ((piece: Buffer) => void) => {
      return (piece) => {
        if (way === 'to-sender' && isAsked) this.#turn++;
        isAsked = way === 'to-receiver';
        const passed = meddle(piece, way, this.#turn);
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
