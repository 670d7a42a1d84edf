/** Outputs that stand in documents, compared with those of another run and another machine. */

/** Without what is different every time. */
export function mask(text: string): string {
  return text
    .replaceAll(/"targetMarks": ?\{[^}]*\}/g, '"targetMarks":"<marks>"')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '<uuid>')
    .replaceAll(/(epoch"?: ?"?)[0-9a-f]{16}/g, '$1<epoch>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replaceAll(/ssh-ed25519 [\w+/=]+/g, 'ssh-ed25519 <key>')
    .replaceAll(/SHA256:[\w+/]+/g, '<fingerprint>')
    .replaceAll(/(\/[\w.-]+)+\/(?=target\.img)/g, '');
}
