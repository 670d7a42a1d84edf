/** The user data that the guide shows, on the first boot of a machine with Debian's own cloud-init. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { VERSION } from '../../common/protocol/version.ts';
import { readCloudConfig } from '../../scripts/build/cloud-config.ts';
import { bootCloudMachine, SERVED_AT, unlessCloudGuest } from '../support/cloud-guest.ts';
import { prng } from '../support/prng.ts';
import { MIB, SCRIPTS, environment } from '../support/processes.ts';
import { runOk } from '../support/run.ts';
import { makeSshKey, publicLine } from '../support/ssh-keygen.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = await unlessCloudGuest();
const PACKAGE = `dd-transfer_${VERSION}_amd64.deb`;
const EXAMPLE = 'usr/share/doc/dd-transfer/examples/cloud-init.yaml';
const SERIAL = 'volume-4711';
const DISK_BYTES = 32 * MIB;
const SOURCE_BYTES = 24 * MIB;
/** On a busy machine; otherwise it takes a third of it. */
const FIRST_BOOT_MS_MAX = 480_000;
const COPY_MS_MAX = 120_000;
const PACKAGE_MS_MAX = 180_000;

/** Each place once. */
function fillIn(text: string, values: readonly (readonly [place: RegExp, value: string])[]): string {
  return values.reduce((filled, [place, value]) => {
    assert(place.test(filled), String(place));
    return filled.replace(place, () => value);
  }, text);
}

async function makeServed(folder: string, keyLine: string): Promise<Map<string, string | Buffer>> {
  const script = join(SCRIPTS, 'build/package.ts');
  const options = { env: environment(), timeoutMs: PACKAGE_MS_MAX };
  await runOk(process.execPath, [script, '--arch', 'x64', '--out', folder], options);
  const content = await readFile(join(folder, PACKAGE));
  const unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -xO "./$2"';
  const packaged = await runOk('sh', ['-c', unpack, 'sh', join(folder, PACKAGE), EXAMPLE]);
  assert.equal(packaged, await readCloudConfig(), 'the package has what the guide shows');
  const userData = fillIn(packaged, [
    [/ssh-ed25519 AAAA\S+/, keyLine],
    [/(?<=package=)\S+/, `${SERVED_AT}/${PACKAGE}`],
    [/(?<=sha256=)…/, createHash('sha256').update(content).digest('hex')],
    [/(?<=disk=.*virtio-).*/, SERIAL],
  ]);
  return new Map<string, string | Buffer>([
    ['/meta-data', 'instance-id: first\nlocal-hostname: vm\n'],
    ['/vendor-data', ''],
    ['/user-data', userData],
    [`/${PACKAGE}`, content],
  ]);
}

test('a new machine shows a public ticket, and its second disk becomes the copy', { skip }, async (t) => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  const key = await makeSshKey(at('id_ed25519'), 'ed25519');
  const served = await makeServed(folder.path, await publicLine(key));
  const disk = { path: at('disk'), serial: SERIAL };
  await writeFile(disk.path, '');
  await truncate(disk.path, DISK_BYTES);
  await writeFile(at('source'), prng(5).bytes(SOURCE_BYTES));

  await using machine = await bootCloudMachine({ folder: folder.path, disk, served });
  const startMs = performance.now();
  const [, ticket = ''] = await machine.process.waitForLine(/public ticket: (\S+)/, FIRST_BOOT_MS_MAX);
  t.diagnostic(`the ticket: ${((performance.now() - startMs) / 1000).toFixed(1)} s after power on`);
  const words = ['--identity', key, '--connect', machine.address, at('source'), ticket];
  const options = { env: environment(), timeoutMs: COPY_MS_MAX };
  await runOk(join(SCRIPTS, 'ddt-send'), words, options);
  await machine.process.waitForLine(/disabled: sealed/, COPY_MS_MAX);
  assert.doesNotMatch(machine.process.stdout, /dd-transfer: error|ddt1\./);
  await runOk('cmp', ['--bytes', String(SOURCE_BYTES), at('source'), disk.path]);
});
