/** The commands that make curl a client of this receiver, filled in. */
import type { Ticket } from '../../common/trust/ticket.ts';

export function curlHelp(ticket: Ticket, blockSizeBytes: number): string {
  return `# paste on the source machine; the first line keeps the token out of the list of processes
(umask 077; echo 'Authorization: Bearer ${ticket.token}' > ddt.hdr)
U='${ticket.origin}' PIN='${ticket.pin}' BS=${blockSizeBytes}
I=0                                                          # number of a block
ddt() { curl -sS -k --pinnedpubkey "$PIN" -H @ddt.hdr --fail-with-body "$@"; }   # -k is safe with the pin
ddt "$U/transfer"                                            # geometry and counters
ddt -H 'Accept: text/plain' "$U/blocks?state=missing"        # what is missing
ddt -I "$U/blocks/$I"                                        # one block: state and digest
dd if=/dev/sdX of=b bs=$BS skip=$I count=1 iflag=fullblock status=none    # the same block of the source
ddt -T b "$U/blocks/$I?digest=sha256:$(sha256sum <b | cut -c1-64)"        # put one block by hand
`;
}
