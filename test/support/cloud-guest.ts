/** The first boot of a machine in a cloud: Debian with systemd and cloud-init, emulated. */
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { packInitialSystem, startMachine, unlessGuest } from './guest.ts';
import { OWN_HOST } from './processes.ts';
import { unlessCloudSystem, unlessInstalled } from './requires.ts';
import type { Started } from './run.ts';

/** Where the machine finds what the test serves (qemu(1), guestfwd). */
export const SERVED_AT = 'http://10.0.2.100';
/** Only this process has the address. */
const FORWARDED_PORT = 8443;

export interface CloudMachine {
  /** Of the files that are made for it; must exist. */
  readonly folder: string;
  /** Its disk `/dev/disk/by-id/virtio-<serial>`. */
  readonly disk: { readonly path: string; readonly serial: string };
  /** By their paths at {@link SERVED_AT}: `/user-data` and what it refers to. */
  readonly served: ReadonlyMap<string, string | Buffer>;
}

export interface RunningCloudMachine extends AsyncDisposable {
  readonly process: Started;
  /** For `--connect`: its port 8443. */
  readonly address: string;
}

/** For `skip`. */
export async function unlessCloudGuest(): Promise<string | false> {
  return (await unlessGuest()) || unlessInstalled('nc') || unlessCloudSystem();
}

/** Its first boot each time: nothing that it writes to the disk of its system is kept. */
export async function bootCloudMachine({ folder, disk, served }: CloudMachine): Promise<RunningCloudMachine> {
  await using stack = new AsyncDisposableStack();
  const initrd = join(folder, 'initrd');
  await packInitialSystem(join(folder, 'initial'), initrd);
  const server = createServer(({ url = '' }, response) => {
    const content = served.get(url);
    response.writeHead(content === undefined ? 404 : 200).end(content);
  });
  server.listen(0, OWN_HOST);
  await once(server, 'listening');
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const network = [
    `user,id=net,restrict=on,hostfwd=tcp:${OWN_HOST}:${FORWARDED_PORT}-:8443`,
    `guestfwd=tcp:${new URL(SERVED_AT).hostname}:80-cmd:nc ${OWN_HOST} ${port}`,
  ];
  const machine = await startMachine({
    initrd,
    commandLine: `root=/dev/vda ds=nocloud-net;s=${SERVED_AT}/`,
    devices: [
      ['-drive', `file=${process.env['DDT_TEST_CLOUD']},format=raw,if=none,id=system,snapshot=on`],
      ['-device', 'virtio-blk-pci,drive=system'],
      ['-drive', `file=${disk.path},format=raw,if=none,id=disk`],
      ['-device', `virtio-blk-pci,drive=disk,serial=${disk.serial}`],
      ['-netdev', network.join()],
    ],
  });
  stack.use(machine);
  const resources = stack.move();
  return {
    process: machine,
    address: `${OWN_HOST}:${FORWARDED_PORT}`,
    [Symbol.asyncDispose]: async () => await resources.disposeAsync(),
  };
}
