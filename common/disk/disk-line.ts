/** A disk in one line, so that a person who reads it can tell that it is the wrong one. */

export interface DiskToName {
  readonly path: string;
  readonly byId?: string | null;
  /** Usually its maker and model. */
  readonly description: string;
  readonly serial: string | null;
}

/** `/dev/sdc (/dev/disk/by-id/usb-Stick_0815)`, `/dev/vdd`. */
export function diskName({ path, byId }: DiskToName): string {
  return byId === undefined || byId === null || byId === path ? path : `${path} (${byId})`;
}

/** `ATA WDC WD10EZEX, serial WD-1234`. @returns the serial number only where the name has not got it. */
export function diskKind(disk: DiskToName): string {
  const { description, serial } = disk;
  const isTold = serial === null || [diskName(disk), description].some((text) => text.includes(serial));
  return isTold ? description : `${description}, serial ${serial}`;
}
