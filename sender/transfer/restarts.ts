/** What a person types to start the receiver in another way: beside it, or through ssh from here. */
import { pathToType } from '../../common/text.ts';

export interface Restarts {
  /** The target is copied again from the beginning. */
  readonly startOver: string;
  /** A sealed copy takes what differs. @param targetPath as the receiver has named it. */
  readonly update: (targetPath: string) => string;
}

export const BY_HAND: Restarts = {
  startOver: 'start ddt-receive with --discard-transfer --overwrite-target, in a script also with --yes',
  update: (targetPath) =>
    `run 'ddt-receive --update ${pathToType(targetPath, 'target')}' on the receiver, ` +
    'then the same command again',
};

export const THROUGH_SSH: Restarts = {
  startOver: 'run the same command again with --discard-transfer --overwrite-target --yes',
  update: () => 'run the same command again with --update',
};
