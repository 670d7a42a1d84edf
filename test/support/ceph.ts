/**
 * A Ceph of one machine: a monitor, one store (OSD), and where it is wanted the gateway that speaks S3. They
 * are real daemons on an address of this process alone, and end with it, however that happens. Nothing is
 * replicated: what is tried is a client of Ceph, not Ceph.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB, OWN_HOST, environment, until } from './processes.ts';
import { NOT_INSTALLED, unlessInstalled } from './requires.ts';
import { run, runOk, start, type Ended, type RunOptions, type Started } from './run.ts';
import { tempDir, type TempDir } from './temp-dir.ts';

/** On the address of this process; below those that the kernel gives to clients. */
const PORTS = { monitor: 3300, gateway: 7480, storeMin: 6800, storeMax: 6899 } as const;
const READY_MS_MAX = 60_000;
/** Of one command of a client, which would wait without end for what does not answer. */
const COMMAND_MS_MAX = 10_000;
const STORE_BYTES_DEFAULT = 4096 * MIB;
/** The one that `rbd` takes where none is named. */
const POOL = 'rbd';

/** Each has one process. */
export type CephDaemon = 'monitor' | 'store' | 'gateway';

export interface CephOptions {
  /**
   * Where the store keeps objects. In memory it is usable earlier, and forgets all of them when it is killed;
   * on disk what was acknowledged survives that.
   */
  readonly store: 'memory' | 'disk';
  /** Default false. */
  readonly hasGateway?: boolean;
  /** Of the store; taken as it is needed. Default 4 GiB, of which it needs some itself. */
  readonly sizeBytes?: number;
}

/** What a client of S3 needs. Buckets are in the path. */
export interface CephGateway {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

const GATEWAY: CephGateway = {
  endpoint: `http://${OWN_HOST}:${PORTS.gateway}`,
  region: 'default',
  accessKey: 'testaccesskey',
  secretKey: 'testsecretkey',
};

/** For `skip`. */
export function unlessCeph(): string | false {
  return unlessInstalled('ceph', 'ceph-mon', 'ceph-osd', 'rbd');
}

/** For `skip`: what makes qemu open volumes of Ceph is no program. */
export function unlessCephVolumes(): string | false {
  const module = 'block-rbd.so';
  const libraries = existsSync('/usr/lib') ? readdirSync('/usr/lib') : [];
  const isThere = libraries.some((name) => existsSync(join('/usr/lib', name, 'qemu', module)));
  return unlessCeph() || unlessInstalled('qemu-img', 'qemu-nbd') || (!isThere && NOT_INSTALLED + module);
}

/** For `skip`. */
export function unlessCephGateway(): string | false {
  return unlessCeph() || unlessInstalled('radosgw', 'radosgw-admin');
}

/** Usable when it resolves, with an empty pool for volumes. One at a time in a process. */
export async function startCeph(options: CephOptions): Promise<Ceph> {
  const ceph = new Ceph(await tempDir());
  try {
    return await ceph.make(options);
  } catch (error) {
    await ceph[Symbol.asyncDispose]();
    throw error;
  }
}

export class Ceph implements AsyncDisposable {
  readonly gateway = GATEWAY;
  readonly #folder: TempDir;
  readonly #daemons = new Map<CephDaemon, Started>();

  constructor(folder: TempDir) {
    this.#folder = folder;
  }

  /** Of {@link startCeph}. */
  async make({ store, hasGateway = false, sizeBytes = STORE_BYTES_DEFAULT }: CephOptions): Promise<this> {
    for (const name of ['monitor', 'store', 'gateway', 'crash']) await mkdir(this.#at(name));
    const id = randomUUID();
    await writeFile(this.#at('ceph.conf'), configOf(id, this.#folder.path, { store, sizeBytes }));
    await this.#makeMonitor(id);
    await this.#makeStore();
    if (hasGateway) await this.#makeGateway();
    return this;
  }

  /** Variables that lead clients to it: qemu, rbd, ceph, rados, radosgw-admin. */
  get env(): NodeJS.ProcessEnv {
    return { CEPH_CONF: this.#at('ceph.conf') };
  }

  /** Runs one of its clients. @returns standard output. @throws ProcessFailure unless the status is 0. */
  async command(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
    return await runOk(program, args, { ...options, env: environment({ ...this.env, ...options.env }) });
  }

  /** With SIGKILL. What was acknowledged is not lost, unless the store is in memory. */
  async kill(name: CephDaemon): Promise<void> {
    const daemon = this.#daemons.get(name);
    assert(daemon?.isRunning === true, `the ${name} runs`);
    daemon.killGroup('SIGKILL');
    await daemon.ended;
  }

  /** After {@link kill}. Clients have waited, and continue. */
  async restart(name: CephDaemon): Promise<void> {
    // Otherwise clients look for the old one, for ten seconds.
    if (name === 'store') await this.#try('ceph', 'osd', 'down', '0');
    await this.#startDaemon(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons.values()) await daemon[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }

  async #makeMonitor(id: string): Promise<void> {
    const map = this.#at('map');
    await this.command('monmaptool', ['--create', '--fsid', id, '--addv', 'a', MONITOR, map]);
    await this.command('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', map]);
    await this.#startDaemon('monitor');
    await this.#ready('monitor', async () => (await this.#try('ceph', 'mon', 'stat')).status === 0);
  }

  async #makeStore(): Promise<void> {
    const id = randomUUID();
    await this.command('ceph', ['osd', 'new', id, '0']);
    await this.command('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', id]);
    await this.#startDaemon('store');
    await this.command('ceph', ['osd', 'pool', 'create', POOL]);
    const file = this.#at('ceph.conf');
    const canPut = async (): Promise<boolean> =>
      (await this.#try('rados', '-p', POOL, 'put', 'probe', file)).status === 0;
    await this.#ready('store', canPut);
    await this.command('rados', ['-p', POOL, 'rm', 'probe']);
  }

  async #makeGateway(): Promise<void> {
    await this.#startDaemon('gateway');
    await this.#ready('gateway', async () => {
      const response = await fetch(GATEWAY.endpoint).catch(() => undefined);
      return response?.ok === true;
    });
    const keys = ['--access-key', GATEWAY.accessKey, '--secret-key', GATEWAY.secretKey];
    await this.command('radosgw-admin', ['user', 'create', '--uid=test', '--display-name=test', ...keys]);
  }

  #at(name: string): string {
    return join(this.#folder.path, name);
  }

  async #startDaemon(name: CephDaemon): Promise<void> {
    const [program, ...words] = {
      monitor: ['ceph-mon', '-i', 'a'],
      store: ['ceph-osd', '-i', '0'],
      gateway: ['radosgw', '-n', 'client.gateway'],
    }[name] as [string, ...string[]];
    await this.#daemons.get(name)?.[Symbol.asyncDispose]();
    const env = environment({ ...this.env, TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES: String(32 * MIB) });
    const under = ['setpriv', '--pdeathsig', 'KILL', '--'];
    this.#daemons.set(name, await start(program, ['-f', ...words], { env, under }));
  }

  async #ready(name: CephDaemon, isReady: () => Promise<boolean>): Promise<void> {
    const daemon = this.#daemons.get(name);
    const isGone = (): boolean => daemon?.isRunning !== true;
    await until(`the ${name} of Ceph`, async () => isGone() || (await isReady()), READY_MS_MAX);
    assert(!isGone(), `the ${name} of Ceph runs: ${daemon?.stderr}`);
  }

  async #try(program: string, ...args: readonly string[]): Promise<Ended> {
    return await run(program, args, { env: environment(this.env), timeoutMs: COMMAND_MS_MAX });
  }
}

const MONITOR = `[v2:${OWN_HOST}:${PORTS.monitor}/0]`;

/** Nobody has to identify himself, and a pool has one copy. */
function configOf(
  id: string,
  folder: string,
  { store, sizeBytes }: Pick<Required<CephOptions>, 'store' | 'sizeBytes'>,
): string {
  return `
[global]
fsid = ${id}
mon host = ${MONITOR}
public addr = ${OWN_HOST}
ms bind port min = ${PORTS.storeMin}
ms bind port max = ${PORTS.storeMax}
auth cluster required = none
auth service required = none
auth client required = none
# Without this the gateway hangs where nobody identifies himself.
ms mon client mode = crc
# Changes of the map are known at once.
paxos propose interval = 0.05
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
# It stops at a percentage of free space otherwise.
mon data avail warn = 2
mon data avail crit = 1
run dir = ${folder}
admin socket = ${folder}/$name.asok
log file = ${folder}/$name.log
mon cluster log file = ${folder}/cluster.log
crash dir = ${folder}/crash
${['ms', 'osd', 'bluestore', 'bluefs', 'bdev', 'rocksdb'].map((part) => `debug ${part} = 0/0`).join('\n')}
[mon]
mon data = ${folder}/monitor
[osd]
osd data = ${folder}/store
osd objectstore = ${store === 'memory' ? 'memstore' : 'bluestore'}
bluestore block size = ${sizeBytes}
bluestore cache autotune = false
bluestore cache size = ${128 * MIB}
memstore device bytes = ${sizeBytes}
osd class update on start = false
# A client that was killed stands in the way of the next one for 30 s otherwise.
osd client watch timeout = 5
[client.gateway]
rgw data = ${folder}/gateway
rgw frontends = beast endpoint=${OWN_HOST}:${PORTS.gateway}
rgw thread pool size = 64
rgw enable usage log = false
`;
}
