/** A disk in one line, by which a person can tell that it is the wrong one. */

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

/** `ATA WDC WD10EZEX, serial WD-1234`; the serial number only where name and description do not have it. */
export function diskKind(disk: DiskToName): string {
  const { description, serial } = disk;
  const isShown = serial === null || [diskName(disk), description].some((text) => text.includes(serial));
  return isShown ? description : `${description}, serial ${serial}`;
}
