/** A collection to be killed, a process of its own: `node collector.ts s3://bucket/prefix <grace in ms>`. */
import { systemClock } from '../../common/clock.ts';
import { ObjectStore } from '../../common/store/object-store.ts';
import { parseStoreName } from '../../common/store/store-name.ts';
import { collect } from '../../receiver/store/collect.ts';

const [name = '', graceMs] = process.argv.slice(2);
await using store = await ObjectStore.open(parseStoreName(name), {
  endpoint: undefined,
  environment: process.env,
});
await collect(store, { clock: systemClock, graceMs: Number(graceMs) });
