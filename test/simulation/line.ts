/** What happens to a request and its response on a bad line. */
import { TransferError } from '../../common/errors.ts';
import type { Stamps } from './contents.ts';
import type { Fault } from './faults.ts';
import type { Answer, Request, SentBlock } from './requests.ts';
import type { SimProcess } from './scheduler.ts';
import type { ReceiverProcess, World } from './world.ts';

/** As in the product's client: a connection that does not move for this long is given up. */
export const STALL_MS = 60_000;
export const PATIENT_STALL_MS = 600_000;
/** A request that its client has given up may still arrive this late. */
export const ZOMBIE_MS = 120_000;

/** The client of a request, which gets one of the two, or nothing. */
export interface Waiting {
  readonly fail: () => void;
  readonly settle: (answer: Answer) => void;
}

export class Line {
  readonly #world: World;
  readonly #process: SimProcess;

  /** @param process of the client. */
  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
  }

  transmit(request: Request, client: Waiting): void {
    const world = this.#world;
    const { scheduler, random, profile } = world;
    const fault = this.#faultOf(request);
    const delayMs = world.latency(profile.lineMs);
    const arrive = (asked: Request, answered: Waiting | undefined, delay: number): void => {
      scheduler.after(delay, undefined, 'arrive', () => this.#arrive(asked, answered));
    };
    switch (fault) {
      case 'lineLost':
        return this.later('reset', client.fail);
      case 'lineSilent':
        return;
      case 'lineBusy':
        return this.later('busy', () => this.#refuse(client));
      case 'lineReplyLost':
        arrive(request, undefined, delayMs);
        return this.later('reset', client.fail, random.pick([1, 10, 100]));
      case 'lineZombie': {
        const late = random.unit() * random.pick([100, 3000, ZOMBIE_MS]);
        arrive(request, undefined, late);
        return void scheduler.after(late * random.unit(), this.#process, 'reset', client.fail);
      }
      case 'lineReplyLate': {
        const settle = (answer: Answer): void => {
          const lateMs = random.unit() * random.pick([100, 3000, 30_000]);
          scheduler.after(lateMs, this.#process, 'late', () => client.settle(answer));
        };
        return arrive(request, { ...client, settle }, delayMs);
      }
      case 'lineDuplicate':
        arrive(byHand(request, world), undefined, random.unit() * random.pick([100, 3000, ZOMBIE_MS]));
        break;
      case 'lineCorrupt':
        return arrive(damaged(request, world), client, delayMs);
      case 'bodyCut':
        this.later('reset', client.fail, 3);
        return arrive(withFate(request, 'cut'), undefined, delayMs);
      case 'bodyStall':
        return arrive(withFate(request, 'stalled'), client, delayMs);
      default:
    }
    arrive(request, client, delayMs);
  }

  #faultOf(request: Request): Fault | undefined {
    const world = this.#world;
    const fault = world.ask('line');
    const { scheduler, random } = world;
    if (fault === 'lineOutage')
      world.outageUntilMs = scheduler.nowMs + random.unit() * random.pick([1e3, 1e5, 6e5]);
    if (scheduler.nowMs < world.outageUntilMs) return random.pick(['lineLost', 'lineSilent']);
    return fault === 'lineCorrupt' && request.kind !== 'put' ? undefined : fault;
  }

  #arrive(request: Request, client: Waiting | undefined): void {
    const { receiver } = this.#world;
    if (receiver?.isListening !== true || !receiver.process.isAlive || this.#isOutdated(request)) {
      if (client !== undefined) this.later('refused', client.fail);
      return;
    }
    void this.#answer(receiver, request, client);
  }

  /** The lease refuses an earlier sender once there is a later one: its size must not come so late. */
  #isOutdated({ kind }: Request): boolean {
    const { sender, profile } = this.#world;
    return profile.pipe !== undefined && kind === 'claim' && sender?.process !== this.#process;
  }

  async #answer(receiver: ReceiverProcess, request: Request, client: Waiting | undefined): Promise<void> {
    const answer = await receiver.answer(request);
    if (client === undefined || !receiver.process.isAlive) return;
    this.#world.scheduler.trace('answer', answer.error === undefined ? 1 : 0);
    this.later('reply', () => client.settle(answer));
  }

  #refuse(client: Waiting): void {
    const transfer = this.#world.receiver?.transfer;
    if (transfer === undefined) return client.fail();
    const { epoch, durableGeneration, verifiedCount } = transfer;
    const error = new TransferError('busy', 'all memory for blocks is in use', { retryAfterSeconds: 1 });
    client.settle({ info: { epoch, durableGeneration, verifiedCount }, body: Buffer.alloc(0), error });
  }

  /** After the time that the line takes, if the client's process is still alive. */
  later(label: string, action: () => void, factor = 1): void {
    const { scheduler, profile } = this.#world;
    scheduler.after(this.#world.latency(profile.lineMs) * factor, this.#process, label, action);
  }
}

function withFate(request: Request, fate: SentBlock['fate']): Request {
  return request.kind === 'put' ? { kind: 'put', block: { ...request.block, fate } } : request;
}

function damaged(request: Request, { random }: World): Request {
  if (request.kind !== 'put') return request;
  const stamps = (): Stamps => {
    const copy = request.block.stamps().slice();
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random.below(32));
    return copy;
  };
  return { kind: 'put', block: { ...request.block, stamps } };
}

/** A second request like this one, as if from a person: flushed, or only reading the block. */
function byHand(request: Request, { random }: World): Request {
  if (request.kind !== 'put') return request;
  if (random.chance(0.2)) return { kind: 'get', index: request.block.index };
  return { kind: 'put', block: { ...request.block, isFlushed: random.chance(0.5) } };
}
