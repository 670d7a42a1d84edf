/** The text of `--version`: what a bug report needs to name for both ends. */
import { PROTOCOL_VERSION } from './protocol.ts';

/** As in package.json. */
export const VERSION = '0.2.0';
const OTHERS = `protocol ${PROTOCOL_VERSION}, Node.js ${process.version}`;
export const VERSION_TEXT = `dd-transfer ${VERSION}, ${OTHERS}`;
