/** What follows the options in the help of ddt-send. */

export const HELP_AFTER = `
Examples:
  ddt-send /dev/sdc root@vm.example.org:/dev/vdd
  ddt-send /dev/sdc 'https://203.0.113.7:8443/#pin=…&token=…'  # with the quotes
  ddt-send /dev/sda /dev/sdb root@vm:/dev/vdb,/dev/vdc    # one after the other
  ddt-send --ticket-file ticket.txt --progress json disk.img
  ddt-send --check /dev/sdc '<ticket>'      # is the copy still equal?
  ddt-send --keep-open /dev/sdc root@vm:/dev/vdd  # live; then again without
  DDT_TICKET='https://…' ddt-send /dev/disk/by-id/usb-Stick_0815
  zcat disk.img.gz | ddt-send --ticket-file ticket.txt -

Exit status: 0 verified, 2 usage, 3 finished but not proven, 4 refused,
5 device failure or corruption, 6 gave up waiting, 129/130/143 interrupted.
After 5, 6, 129, 130 and 143, run the same command again to resume.
`;
