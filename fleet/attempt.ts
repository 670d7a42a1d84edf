/** One attempt of a job: a ddt-send from its start to its end, and its receipt made safe in between. */
import { spawn } from 'node:child_process';
import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isSea } from 'node:sea';
import type { Limit } from '../common/bandwidth/bandwidth-schedule.ts';
import type { Clock } from '../common/clock.ts';
import { EXIT_STATUS, TransferError, exitStatusOf, reasonOf } from '../common/errors.ts';
import { writeReceiptFiles } from '../common/io/receipt-files.ts';
import { readReceipt } from '../common/receipt/signed-receipt.ts';
import { printable, redact } from '../common/text.ts';
import { receiptNameOf } from './fleet-journal.ts';
import type { Job } from './job.ts';
import { SenderProcess, type HandedOver } from './sender-process.ts';
import type { SourceHosts } from './source-hosts.ts';

/** Of ssh itself (ssh(1)). */
const SSH_FAILED = 255;
/** What stopped it may pass (docs/reference/statuses.md). */
const STATUSES_AGAIN: readonly (number | undefined)[] = [
  EXIT_STATUS.device,
  EXIT_STATUS.gaveUp,
  EXIT_STATUS.sighup,
  EXIT_STATUS.sigint,
  EXIT_STATUS.sigterm,
  SSH_FAILED,
  undefined,
];
/** Unless the job says something else: a host that is away must not keep a place for a day. */
const RETRY_FOR = '10m';
/** For each of several at once. */
const MEMORY = '128MiB';

export interface AttemptParts {
  readonly clock: Clock;
  readonly hosts: SourceHosts;
  readonly sshCommand: string;
  readonly receiptsFolder: string;
  readonly logsFolder: string;
  /** Of the moment. */
  readonly limit: () => Limit;
  onEvent(event: Readonly<Record<string, unknown>>): void;
  /** To be made durable before it returns. @throws TransferError. */
  onReceipt(receipt: { readonly name: string; readonly status: number }): void;
}

export interface AttemptResult {
  readonly status: number | undefined;
  /** Why, where it is not complete. */
  readonly reason: string | undefined;
  /** Its receipt is kept: the job is over, whatever the status. */
  readonly receiptStatus: number | undefined;
  readonly mayPass: boolean;
}

export class Attempt {
  readonly #job: Job;
  readonly #parts: AttemptParts;
  #sender: SenderProcess | undefined;
  #isEnding = false;
  #reason: string | undefined;
  #lastWords = '';
  #receiptStatus: number | undefined;
  /** Its log, and its receipt, one after the other. */
  #writing: Promise<void> = Promise.resolve();

  constructor(job: Job, parts: AttemptParts) {
    this.#job = job;
    this.#parts = parts;
  }

  /** Never rejects because of the world. */
  async run(): Promise<AttemptResult> {
    let status: number | undefined;
    try {
      this.#log(`--- ${new Date(this.#parts.clock.wallMs()).toISOString()}`);
      this.#sender = await this.#start();
      this.#sender.setLimit(this.#parts.limit());
      if (this.#isEnding) this.#sender.end();
      status = await this.#sender.ended;
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      this.#reason = error.message;
      this.#log(error.message);
      status = exitStatusOf(error.kind);
    }
    await this.#writing;
    return {
      status,
      reason:
        this.#reason ?? (status === 0 ? undefined : this.#lastWords || `ended with ${status ?? 'a signal'}`),
      receiptStatus: this.#receiptStatus,
      mayPass: STATUSES_AGAIN.includes(status),
    };
  }

  setLimit(limit: Limit): void {
    this.#sender?.setLimit(limit);
  }

  /** Asks it to end: it can be resumed. */
  end(): void {
    this.#isEnding = true;
    this.#sender?.end();
  }

  async #start(): Promise<SenderProcess> {
    const { hosts, sshCommand } = this.#parts;
    const { source, target, options } = this.#job;
    const isGiven = (name: string): boolean => options.some((word) => word.split('=', 1)[0] === name);
    const own = [
      ...(isGiven('--retry-for') ? [] : ['--retry-for', RETRY_FOR]),
      ...(isGiven('--memory') ? [] : ['--memory', MEMORY]),
      // Of the machine that it runs on.
      ...(source.far !== undefined || isGiven('--ssh') ? [] : ['--ssh', sshCommand]),
    ];
    const words = ['--steered', '--progress', 'json', ...own, ...options, '--', source.path, target.text];
    const events = {
      onEvent: (event: Readonly<Record<string, unknown>>) => this.#take(event),
      onWords: (line: string) => this.#hear(line),
      onReceipt: (receipt: HandedOver) =>
        void (this.#writing = this.#writing.then(() => this.#keep(receipt))),
    };
    if (source.far !== undefined) {
      const { child, mark } = await hosts.start(source.far, words);
      return new SenderProcess(child, mark, events);
    }
    const [program = '', ...before] = senderCommand();
    const child = spawn(program, [...before, ...words], { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    return new SenderProcess(child, undefined, events);
  }

  #take(event: Readonly<Record<string, unknown>>): void {
    const { message, code } = event;
    // Once it was asked to end, that is all that it has to say.
    if (event['event'] === 'failed' && typeof message === 'string' && !this.#isEnding)
      this.#reason = `${printable(redact(message))} (${printable(String(code))})`;
    this.#parts.onEvent(event);
  }

  #hear(line: string): void {
    const text = printable(redact(line));
    this.#lastWords = text.replace(/^ddt-send: (error: )?/, '');
    this.#log(text);
  }

  #log(line: string): void {
    const path = join(this.#parts.logsFolder, `${this.#job.name}.log`);
    // A full disk shows where it matters: at the journal.
    this.#writing = this.#writing.then(async () => await appendFile(path, `${line}\n`).catch(() => {}));
  }

  /** The sender removes what it needs to make the receipt again only when this is done. */
  async #keep({ json, signature, digests, status }: HandedOver): Promise<void> {
    const name = receiptNameOf(this.#job);
    try {
      const path = join(this.#parts.receiptsFolder, name);
      await writeReceiptFiles(path, { json, signature, digests });
      await checkReceipt(path);
      this.#parts.onReceipt({ name, status });
      this.#receiptStatus = status;
      this.#sender?.receiptKept();
    } catch (error) {
      this.#reason = `the receipt cannot be kept: ${reasonOf(error)}`;
      this.end();
    }
  }
}

/** What came is what was signed. @throws TransferError. */
async function checkReceipt(path: string): Promise<void> {
  try {
    await readReceipt(path);
  } catch (error) {
    // Checked by then, but for the name of the digest: only who compares a disk has to compute it.
    if (!(error instanceof TransferError && error.code === 'digest-unsupported')) throw error;
  }
}

function senderCommand(): string[] {
  return isSea() ? [process.execPath, 'send'] : [join(import.meta.dirname, '../scripts/ddt-send')];
}
