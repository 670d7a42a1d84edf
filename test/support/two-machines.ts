/**
 * Two machines in this one: network namespaces, joined by a line, with addresses that may go and others that
 * come. Both commands run in them as real processes. For root, with iproute2.
 */
import { rm, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SCRIPTS, environment } from './processes.ts';
import { notWorking, unlessInstalled, unlessRoot } from './requires.ts';
import { run, runOk, start, type Started } from './run.ts';

export const NEAR = '10.77.0.1';
export const FAR = '10.77.0.2';
/** For a machine that moves. */
export const ELSEWHERE = '10.77.0.3';
const PREFIX = '/24';

/** For `skip`: false where this works. */
export const skipUnlessNamespaces: string | false =
  unlessRoot || unlessInstalled('ip') || (await whyNoNamespaces());

async function whyNoNamespaces(): Promise<string | false> {
  const { status, stderr } = await run('unshare', ['-n', 'ip', 'link', 'add', 'ddt0', 'type', 'veth']);
  return status !== 0 && notWorking('a network namespace', stderr);
}

export type End = 'near' | 'far';

export class TwoMachines implements AsyncDisposable {
  static #count = 0;
  readonly #number = `${process.pid}-${++TwoMachines.#count}`;
  readonly #stack = new AsyncDisposableStack();

  /** @throws Error of `ip`. */
  static async make(): Promise<TwoMachines> {
    const machines = new TwoMachines();
    try {
      await machines.#open();
      return machines;
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #open(): Promise<void> {
    const names = (['near', 'far'] as const).map((end) => this.#nameOf(end));
    for (const name of names) {
      await runOk('ip', ['netns', 'add', name]);
      this.#stack.defer(async () => void (await run('ip', ['netns', 'del', name])));
    }
    const [near = '', far = ''] = names;
    const peer = ['type', 'veth', 'peer', 'name', 'line', 'netns', far];
    await runOk('ip', ['link', 'add', 'line', 'netns', near, ...peer]);
    for (const [end, address] of [
      ['near', NEAR],
      ['far', FAR],
    ] as const) {
      await this.addAddress(end, address);
      await this.ip(end, 'link', 'set', 'lo', 'up');
      await this.ip(end, 'link', 'set', 'line', 'up');
    }
  }

  #nameOf(end: End): string {
    return `ddt-${end}-${this.#number}`;
  }

  /** What the command line of a process on that machine starts with. */
  under(end: End): string[] {
    return ['ip', 'netns', 'exec', this.#nameOf(end)];
  }

  async ip(end: End, ...args: readonly string[]): Promise<void> {
    await runOk('ip', ['-n', this.#nameOf(end), ...args]);
  }

  async addAddress(end: End, address: string): Promise<void> {
    await this.ip(end, 'addr', 'add', address + PREFIX, 'dev', 'line');
  }

  /** Whatever is sent there is answered by nobody from now on. */
  async removeAddress(end: End, address: string): Promise<void> {
    await this.ip(end, 'addr', 'del', address + PREFIX, 'dev', 'line');
  }

  /** What the near machine takes `name` for, from its next look at /etc/hosts on. */
  async nameFar(name: string, address: string): Promise<void> {
    const folder = `/etc/netns/${this.#nameOf('near')}`;
    await mkdir(folder, { recursive: true });
    this.#stack.defer(async () => await rm(folder, { recursive: true, force: true }));
    // In place: a process that was started with it has this very file mounted.
    await writeFile(join(folder, 'hosts'), `${address} ${name}\n`);
  }

  /** `ddt-receive` on the far machine; resolves when it listens. It may be started again with the same. */
  async receive(folder: string, advertise = FAR, ...options: readonly string[]): Promise<Started> {
    const all = ['--state-dir', join(folder, 'state'), '--advertise', advertise, ...options];
    const files = ['--ticket-file', join(folder, 'ticket'), join(folder, 'target')];
    const receiver = await this.#start('far', 'ddt-receive', ...all, ...files);
    await receiver.waitForLine(/^listening on /);
    return receiver;
  }

  /** `ddt-send --progress json` on the near machine, with the ticket in `folder`. */
  async send(folder: string, source: string, ...options: readonly string[]): Promise<Started> {
    const all = ['--progress', 'json', '--ticket-file', join(folder, 'ticket'), ...options, source];
    return await this.#start('near', 'ddt-send', ...all);
  }

  async #start(end: End, command: string, ...args: readonly string[]): Promise<Started> {
    const options = { env: environment(), under: this.under(end) };
    return this.#stack.use(await start(join(SCRIPTS, command), args, options));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
