/**
 * Restarts what has ended, as a person or a service manager would, until the transfer is sealed or cannot be.
 */
import { TransferError } from '../../common/errors.ts';
import { ZOMBIE_MS } from './line.ts';
import { PipeOperator } from './pipe-operator.ts';
import { SimReceiver } from './sim-receiver.ts';
import { SimSender, type SendResult } from './sim-sender.ts';
import { changeBlock } from './sim-source.ts';
import { faultOfFailure, faultOfIdle, faultOfSuccess } from './verdict.ts';
import type { End, World } from './world.ts';

/** Longer than any request takes. */
const QUIET_MS = ZOMBIE_MS + 10_000;
/** More runs of the sender than faults can explain. */
const SENDS_MAX = 60;
/** After so many failures a permanent fault counts as the end. */
const FAILURES_MAX = 3;
/**
 * A copy that was opened again for its unreadable areas refuses every other block that has changed: until a
 * person starts the receiver with `--update`, each run ends like that.
 */
const SEALED_REFUSALS_MAX = 3;
/** Blocks that change between two runs, if the source does. */
const CHANGES_MAX = 6;

export class Supervisor {
  receiver: SimReceiver | undefined;
  sender: SimSender | undefined;
  sends = 0;
  /** `send()` has resolved. */
  hasSucceeded = false;
  /** `sealed`, or the code of a failure that fits what has happened. */
  outcome: string | undefined;
  readonly #world: World;
  /** undefined: the source is a disk. */
  readonly #operator: PipeOperator | undefined;
  #failures = 0;
  /** Without another end between them. */
  #sealedRefusals = 0;

  constructor(world: World) {
    this.#world = world;
    const { pipe } = world.profile;
    this.#operator = pipe === undefined ? undefined : new PipeOperator(world, pipe);
  }

  startReceiver(): void {
    const receiver = new SimReceiver(this.#world, 'receiver');
    this.receiver = receiver;
    receiver.start().catch((error: unknown) => {
      if (receiver.process.isAlive) this.#refuse(error);
    });
  }

  startSender(): void {
    const { profile, faults, random, contents } = this.#world;
    this.sends++;
    if (this.sends > SENDS_MAX) return this.#world.violate(`the sender was started ${SENDS_MAX} times`);
    if (this.sends > 1 && profile.isSourceChanging && !faults.isCalm && !this.hasSucceeded) {
      for (let left = random.below(CHANGES_MAX); left > 0; left--) {
        changeBlock(this.#world, random.below(contents.blockCount));
      }
      this.#operator?.resizeSource();
    }
    const sender = new SimSender(this.#world, 'sender', this.#operator);
    this.sender = sender;
    sender.run().then(
      (result) => this.#succeed(sender, result),
      (error: unknown) => this.#fail(sender, error),
    );
  }

  endReceiver(end: End): void {
    const { receiver } = this;
    const { random, scheduler, disk, waiting } = this.#world;
    if (receiver !== undefined) {
      receiver.process.isAlive = false;
      this.receiver = undefined;
      this.#world.epochEnds++;
      disk.abandon(receiver.process);
      for (const lost of waiting) lost(end);
      const downMs = random.unit() * random.pick([10, 1000, 30_000]);
      scheduler.after(downMs, undefined, 'restart', () => this.startReceiver());
    }
    scheduler.trace(end);
    if (end === 'power') disk.cutPower();
  }

  killSender(): void {
    if (this.sender?.process.isAlive !== true) return;
    this.sender.process.isAlive = false;
    this.#restartSender(10_000);
  }

  #restartSender(withinMs: number): void {
    const { scheduler, random } = this.#world;
    scheduler.after(random.unit() * withinMs, undefined, 'again', () => this.startSender());
  }

  #refuse(error: unknown): void {
    const { scheduler, profile, faults } = this.#world;
    if (!(error instanceof TransferError)) {
      return this.#world.violate(`a bug at the start of the receiver: ${String(error)}`);
    }
    scheduler.trace(`start ${error.code}`);
    if (error.code !== 'target-refused') return this.endReceiver('exit');
    // The disk is not what the journal says: right only if it has lied.
    if (profile.isLying || faults.hitsOf('foreignWrite') > 0) this.outcome = error.code;
    else if (faults.hitsOf('readBackFlip') > 0) this.endReceiver('exit');
    else this.#world.violate(error.message);
  }

  #succeed(sender: SimSender, result: SendResult): void {
    const { scheduler, faults, profile, random } = this.#world;
    scheduler.trace('success');
    const wrong = faultOfSuccess(this.#world, sender, result);
    if (wrong !== undefined) return this.#world.violate(wrong);
    if (result.outcome === 'differs') return void (this.outcome = 'differs');
    faults.calm();
    const isFirst = !this.hasSucceeded;
    this.hasSucceeded = true;
    sender.process.isAlive = false;
    // Late requests still arrive; then the power is cut, and everything must be unchanged.
    scheduler.after(random.pick([0, QUIET_MS]), undefined, 'quiet', () => {
      if (!isFirst || !profile.isRepeated) return this.#end();
      if (random.chance(0.5)) this.endReceiver('power');
      this.#restartSender(QUIET_MS);
    });
  }

  #fail(sender: SimSender, error: unknown): void {
    if (!sender.process.isAlive) return;
    if (!(error instanceof TransferError))
      return this.#world.violate(`a bug of the sender: ${String(error)}`);
    this.#world.scheduler.trace(`failed ${error.code}`);
    const wrong = faultOfFailure(this.#world, sender, error);
    if (wrong !== undefined) return this.#world.violate(wrong);
    sender.process.isAlive = false;
    this.#failures++;
    const isForever = this.#world.faults.isForever && this.#failures >= FAILURES_MAX;
    if (isForever) return void (this.outcome = error.code);
    this.#sealedRefusals = error.code === 'sealed' ? this.#sealedRefusals + 1 : 0;
    if (this.#sealedRefusals === SEALED_REFUSALS_MAX) return void (this.outcome = 'refused-as-sealed');
    const end = this.#operator?.noteFailure(error);
    if (end !== undefined) return void (this.outcome = end);
    // Given up until somebody checks the disk.
    if (error.code === 'verify-failed') this.endReceiver('exit');
    this.#restartSender(this.#world.random.pick([1000, 30_000]));
  }

  #end(): void {
    const wrong = faultOfIdle(this.#world);
    if (wrong !== undefined) this.#world.violate(wrong);
    this.outcome ??= 'sealed';
  }
}
