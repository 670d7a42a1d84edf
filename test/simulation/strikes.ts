/** What hits a whole process, or its machine, at any time. */
import type { Fault } from './faults.ts';
import type { Supervisor } from './supervisor.ts';
import { AFTERMATH_MS } from './verdict.ts';
import type { World } from './world.ts';

const PAUSE_MS = 120_000;

export class Strikes {
  readonly #world: World;
  readonly #supervisor: Supervisor;

  constructor(world: World, supervisor: Supervisor) {
    this.#world = world;
    this.#supervisor = supervisor;
  }

  /**
   * Besides those at operations: at any time, more often for senders whose source changes.
   */
  plan(): void {
    const { random, scheduler, profile, faults } = this.#world;
    const spanMs = random.pick([300, 3000, 10_000]);
    const plan = (strike: Fault): void => {
      faults.note(strike);
      scheduler.after(random.unit() * spanMs, undefined, strike, () => this.strike(strike));
    };
    for (let left = random.pick([0, 0, 1, 3]); left > 0; left--) {
      plan(random.pick<Fault>(['receiverKill', 'powerCut', 'receiverStop', 'backgroundLoss']));
    }
    for (let left = profile.isReadBack ? random.pick([0, 0, 0, 1, 4]) : 0; left > 0; left--)
      plan('foreignWrite');
    for (let left = profile.isSourceChanging ? random.between(1, 4) : 0; left > 0; left--) {
      plan(random.pick<Fault>(['senderKill', 'senderInterrupt']));
    }
  }

  /** During the operation that has just begun, or soon after it. */
  strikeSoon(strike: Fault): void {
    this.#world.scheduler.after(this.#world.latency(5), undefined, strike, () => this.strike(strike));
  }

  strike(strike: Fault): void {
    const { scheduler, random, disk } = this.#world;
    const { receiver, sender } = this.#supervisor;
    if (this.#supervisor.hasSucceeded) return;
    this.#world.lastFaultMs = scheduler.nowMs;
    switch (strike) {
      case 'receiverKill':
        return this.#supervisor.endReceiver('kill');
      case 'powerCut':
        return this.#supervisor.endReceiver('power');
      case 'receiverStop':
        return this.#stopReceiver();
      case 'backgroundLoss':
        this.#supervisor.endReceiver('kill');
        return disk.lose();
      case 'receiverPause':
      case 'senderPause': {
        const paused = strike === 'receiverPause' ? receiver : sender;
        if (paused !== undefined) paused.process.pausedUntilMs = scheduler.nowMs + random.unit() * PAUSE_MS;
        return;
      }
      case 'senderInterrupt':
        if (sender?.process.isAlive === true) sender.interrupt();
        return;
      case 'foreignWrite':
        return this.#writeAsOther();
      case 'senderKill':
        return this.#supervisor.killSender();
      default:
        this.#world.violate(`${strike} is nothing that hits a process`);
    }
  }

  /** A mount, mkfs, dd: some sectors of some blocks. */
  #writeAsOther(): void {
    const { random, contents, disk, scheduler } = this.#world;
    if (contents.blockCount === 0) return;
    for (let left = random.between(1, 3); left > 0; left--) {
      const block = random.below(contents.blockCount);
      const isCached = random.chance(0.5);
      disk.writeAsOther(block, random.pick([1, -1, random.next()]), { isCached, nowMs: scheduler.nowMs });
      // The kernel writes back what is dirty after a while.
      if (isCached)
        scheduler.after(30_000 * random.unit(), undefined, 'writeback', () => disk.settleOthers(block));
    }
  }

  /** It ends by itself, and soon. */
  #stopReceiver(): void {
    const { scheduler, faults } = this.#world;
    const { receiver } = this.#supervisor;
    if (receiver?.isListening !== true) return;
    const exit = (): void => {
      if (receiver.process.isAlive) this.#supervisor.endReceiver('exit');
    };
    receiver.stop().then(exit, exit);
    scheduler.after(AFTERMATH_MS, undefined, 'stopped', () => {
      const isQuiet = scheduler.nowMs - this.#world.lastFaultMs >= AFTERMATH_MS;
      if (receiver.process.isAlive && isQuiet && !faults.isForever) {
        this.#world.violate('the receiver does not stop');
      }
      exit();
    });
  }
}
