/**
 * Copies a disk of a machine that ssh reaches onto one of this machine: a receiver here, a sender there,
 * started again when its login is lost, and what was brought there removed at the end.
 */
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Clock } from '../../common/clock.ts';
import { EXIT_STATUS, TransferError, reasonOf } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { askToOverwrite, canAsk } from '../../common/io/overwrite-question.ts';
import type { HookOptions, Trouble } from '../../common/hooks.ts';
import type { Destination } from '../../common/ssh/destination.ts';
import { FarHost, type FarHostOptions } from '../../common/ssh/far-host.ts';
import { removeProgramScript, valuesOf } from '../../common/ssh/far-scripts.ts';
import { SshClient, lastLineOf } from '../../common/ssh/ssh-client.ts';
import { formatDuration } from '../../common/units.ts';
import { FarSender } from './far-sender.ts';
import { OwnReceiver, type OwnReceiverOptions } from './own-receiver.ts';
import { PullLanes } from './pull-lanes.ts';
import type { PullScreen } from './pull-screen.ts';

/** Between two starts of the sender. */
const PAUSE_MS_MIN = 1000;
const PAUSE_MS_MAX = 60_000;
/** A sender that ran for longer has worked. */
const WORKED_MS_MIN = 60_000;
const LEAVE_MS_MAX = 60_000;
/** For the sender to end once the receiver has sealed, and has ended. */
const AFTER_SEAL_MS_MAX = 120_000;

export interface PullOptions extends FarHostOptions {
  readonly source: Destination;
  /** What is run instead of `ssh`, by the shell. */
  readonly sshCommand: string;
  readonly receiver: OwnReceiverOptions;
  /** Where senders reach this machine; undefined: where ssh comes from, and what the receiver finds. */
  readonly advertise: string | undefined;
  /** Of ddt-send. */
  readonly sendWords: readonly string[];
  /** How long the sender is started again without success. */
  readonly retryForMs: number;
  readonly hooks: HookOptions;
}

export interface PullParts {
  readonly screen: PullScreen;
  readonly clock: Clock;
  /** Aborted by the first signal that interrupts. */
  readonly signal: AbortSignal;
  /** What people should know of who are not looking. */
  readonly onTrouble: (trouble: Trouble) => void;
  /** What the sender has to say at the end. */
  readonly onLastWord: (word: Trouble) => void;
  /** Somebody has asked for a line of progress. */
  readonly onProgressAsked: (tell: () => void) => void;
}

/** @returns the exit status. @throws TransferError. */
export async function pull(options: PullOptions, parts: PullParts): Promise<number> {
  const { screen, signal } = parts;
  const { source, sshCommand } = options;
  const onWords = (line: string): void => screen.fact(line);
  await using ssh = await SshClient.open({ command: sshCommand, destination: source, onWords });
  const say = (fact: string): void => screen.fact(fact);
  const host = new FarHost('send', options, { ssh, signal, say });
  const run = new PullRun(options, { ...parts, ssh, host });
  parts.onProgressAsked(() => run.askProgress());
  try {
    await host.prepare(true);
  } catch (error) {
    // A part of the program may be there.
    if (host.isTouched) await leave(host, options, { isDone: true, ssh, screen });
    throw error;
  }
  let status: number | undefined;
  try {
    status = await run.toEnd();
    return status;
  } finally {
    screen.end();
    await run.stop();
    // Nothing of it is resumed.
    const isRefused = !run.hasBegun || status === EXIT_STATUS.refused;
    const isDone = status === EXIT_STATUS.verified || (host.isTouched && isRefused);
    await leave(host, options, { isDone, ssh, screen });
  }
}

interface RunParts extends PullParts {
  readonly ssh: SshClient;
  readonly host: FarHost;
}

class PullRun {
  readonly #options: PullOptions;
  readonly #parts: RunParts;
  #receiver: OwnReceiver | undefined;
  #sender: FarSender | undefined;
  #hasBegun = false;
  #failures = 0;
  #failingSinceMs = 0;

  constructor(options: PullOptions, parts: RunParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** A sender may have claimed the target. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** @returns the exit status of the run. */
  async toEnd(): Promise<number> {
    for (;;) {
      const startMs = this.#parts.clock.monotonicMs();
      const ended = await this.#sendOnce();
      if (ended.isFinal) return await this.#finish(ended.status);
      if (this.#parts.clock.monotonicMs() - startMs > WORKED_MS_MIN) this.#failures = 0;
      await this.#waitAndLook(ended.reason);
    }
  }

  /** For people, once. */
  askProgress(): void {
    this.#sender?.say({ isProgressAsked: true });
  }

  /** Ends the receiver; what is journalled is safe. */
  async stop(): Promise<void> {
    await this.#receiver?.stop();
  }

  /** One sender, from its start to its end. */
  async #sendOnce(): Promise<{ isFinal: true; status: number } | { isFinal: false; reason: string }> {
    const { ssh, host, screen, signal } = this.#parts;
    const { sendWords, source } = this.#options;
    using lanes = new DisposableStack();
    const hello = { name: hostname(), terminal: screen.terminal };
    const words = [...sendWords, '--', source.path];
    const sender = new FarSender(
      { ssh, host, words, hello },
      {
        onOut: (text) => screen.out(text),
        onErr: (text) => screen.err(text),
        onLive: (lines) => screen.live(lines),
        onTrouble: this.#parts.onTrouble,
        onLastWord: this.#parts.onLastWord,
        onPort: (farPort, count) => lanes.use(this.#bringConnections(farPort, count)),
      },
    );
    this.#sender = sender;
    const onResize = (): void => sender.say({ columns: process.stderr.columns });
    process.stderr.on('resize', onResize);
    try {
      const status = await Promise.race([this.#feed(sender), aborted(signal)]);
      if (isFinal(status)) {
        // It has ended before it knew where it is shown.
        screen.err(sender.complaint);
        return { isFinal: true, status };
      }
      if (!this.#hasBegun) throw this.#notStarted(sender, status);
      return {
        isFinal: false,
        reason: lastLineOf(sender.complaint) || `it ended with status ${status ?? 'unknown'}`,
      };
    } finally {
      process.stderr.off('resize', onResize);
      await sender.end();
      screen.end();
    }
  }

  /** @returns its exit status, or that of the receiver if that ends first, and not by a seal. */
  async #feed(sender: FarSender): Promise<number | undefined> {
    if (!(await sender.ready)) return await sender.ended;
    this.#receiver ??= await this.#startReceiver();
    const { ticketText, ended } = this.#receiver;
    sender.say({ ticket: ticketText, places: this.#places(this.#receiver) });
    const first = await Promise.race([sender.ended, ended.then((status) => ({ status }))]);
    if (typeof first !== 'object') return first;
    if (first.status === EXIT_STATUS.verified) {
      // One that is lost now is started again, with a receiver of the sealed copy.
      const status = await this.#endAfterSeal(sender);
      if (!isFinal(status)) this.#receiver = undefined;
      return status;
    }
    const how = first.status === undefined ? 'was killed' : `ended with status ${first.status}`;
    throw new TransferError('internal', `the receiver ${how}`, {
      hint: 'run the same command again to resume',
    });
  }

  /** Its last request may have been cut off: then it would look for a receiver that has ended. */
  async #endAfterSeal(sender: FarSender): Promise<number | undefined> {
    const ended = new AbortController();
    const late = this.#parts.clock.sleep(AFTER_SEAL_MS_MAX, ended.signal).then(
      () => undefined,
      () => undefined,
    );
    try {
      return await Promise.race([sender.ended, late]);
    } finally {
      ended.abort();
    }
  }

  async #startReceiver(): Promise<OwnReceiver> {
    const { screen, signal } = this.#parts;
    const { receiver } = this.#options;
    const { target } = receiver;
    const isFirst = !this.#hasBegun;
    const started = await OwnReceiver.start(receiver, isFirst, {
      onWarning: (message) => screen.fact(`ddt-receive: ${message}`),
      onTrouble: ({ code, message }) => this.#parts.onTrouble({ code, message, target }),
      mayOverwrite: async ({ message }) => {
        if (!canAsk()) return false;
        screen.fact(`note     ${message}`);
        if (await askToOverwrite(target, signal)) return true;
        throw new TransferError('target-refused', `nothing was written to ${target}: the answer was not yes`);
      },
    });
    this.#hasBegun = true;
    return started;
  }

  #places({ ticket }: OwnReceiver): string[] {
    const { nearAddress } = this.#parts.host;
    const own = formatHostPort(ticket.host, ticket.port);
    // One of a jump host answers to nobody, or not with the pin.
    const isUseful = nearAddress !== undefined && isIP(nearAddress) > 0 && !nearAddress.includes('%');
    if (this.#options.advertise !== undefined || !isUseful) return [own];
    return [...new Set([formatHostPort(nearAddress, ticket.port), own])];
  }

  #bringConnections(farPort: number, count: number): PullLanes {
    const { ssh, host, clock, screen } = this.#parts;
    const near = this.#receiver?.place ?? { host: '127.0.0.1', port: 0 };
    const warn = (warning: string): void => screen.warning(warning);
    return new PullLanes({ ssh, host, clock, warn, near, farPort }, count);
  }

  /** ssh has failed, or the program there, before it could say why. */
  #notStarted({ complaint }: FarSender, status: number | undefined): TransferError {
    const { login } = this.#parts.ssh;
    const reason = lastLineOf(complaint) || `it ended with status ${status ?? 'unknown'}`;
    return new TransferError('machine-unsuitable', `cannot start a sender at ${login}: ${reason}`);
  }

  /** Until the sender can be started again. @throws TransferError when it cannot. */
  async #waitAndLook(lostBy: string): Promise<void> {
    const { host, screen, clock, signal, ssh } = this.#parts;
    const { retryForMs } = this.#options;
    if (this.#failures === 0) this.#failingSinceMs = clock.monotonicMs();
    screen.warning(`the sender at ${ssh.login} was lost: ${lostBy}; it is started again`);
    let reason = lostBy;
    for (;;) {
      if (clock.monotonicMs() - this.#failingSinceMs > retryForMs) {
        throw new TransferError(
          'no-progress',
          `gave up after ${formatDuration(retryForMs)} without progress: ${reason}`,
          {
            hint: 'run the same command again to resume',
          },
        );
      }
      const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(this.#failures++, 10));
      await clock.sleep(pauseMs, signal);
      try {
        await host.prepare(false);
        if (host.hasRebooted) refuseOtherName(this.#options.source.path, ssh.login);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const isPassing = error instanceof TransferError && error.kind === 'transient';
        if (!isPassing) throw error;
        reason = error.message;
        if (this.#failures === 1) screen.warning(`${reason}; trying for ${formatDuration(retryForMs)}`);
      }
    }
  }

  /** @param status of the sender. Only both together prove the copy. */
  async #finish(status: number): Promise<number> {
    if (status !== EXIT_STATUS.verified) return status;
    // It seals before the sender has its receipt.
    const own = await this.#receiver?.stop();
    if (own === EXIT_STATUS.verified) return EXIT_STATUS.verified;
    throw new TransferError(
      'incomplete',
      'the sender says that the copy is verified, but it is not sealed here',
      {
        hint: 'do not trust the copy; run the same command again',
      },
    );
  }
}

/**
 * After a reboot `/dev/sdb` may be another disk, of the same size and without a serial number, and nobody
 * looks at what the sender says of it. @throws TransferError `source-refused`.
 */
export function refuseOtherName(path: string, login: string): void {
  if (!path.startsWith('/dev/') || path.startsWith('/dev/disk/by-')) return;
  const message = `${login} was started again: ${path} may be another disk now`;
  throw new TransferError('source-refused', message, {
    hint: 'see that it is the same one, then run the same command again; /dev/disk/by-id has names that stay',
  });
}

/** Of ddt-send, when it has said why: starting it again would not help. */
const FINAL = new Set<number>([
  EXIT_STATUS.verified,
  EXIT_STATUS.bug,
  EXIT_STATUS.usage,
  EXIT_STATUS.unproven,
  EXIT_STATUS.refused,
  EXIT_STATUS.device,
  EXIT_STATUS.gaveUp,
]);

function isFinal(status: number | undefined): status is number {
  return status !== undefined && FINAL.has(status);
}

async function aborted(signal: AbortSignal): Promise<never> {
  return await new Promise((_resolve, reject) => {
    const fail = (): void => reject(signal.reason as Error);
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

interface LeaveParts {
  /** Nothing is needed there any more. */
  readonly isDone: boolean;
  readonly ssh: SshClient;
  readonly screen: PullScreen;
}

/** Says what is still there. */
async function leave(
  host: FarHost,
  options: PullOptions,
  { isDone, ssh, screen }: LeaveParts,
): Promise<void> {
  const { digest } = host;
  const program = digest === undefined ? undefined : `${options.base}/bin/${digest}`;
  let left = program === undefined ? [] : [program];
  try {
    if (program !== undefined && isDone && !options.isKept) {
      const script = removeProgramScript(options.base, digest);
      left = valuesOf(await host.run(script, LEAVE_MS_MAX, AbortSignal.timeout(LEAVE_MS_MAX)), 'left');
    }
    screen.fact(
      left.length === 0 ? `left     nothing at ${ssh.login}` : `left     at ${ssh.login}: ${left.join(', ')}`,
    );
  } catch (error) {
    screen.warning(`cannot tidy up at ${ssh.login}: ${reasonOf(error)}`);
  }
}
