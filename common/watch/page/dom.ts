/** The few things that the page does with its elements. Text is only ever set as text. */

/** @throws Error if the page has no such element. */
export function byId<Type extends HTMLElement>(id: string, type: new () => Type): Type {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`no ${id}`);
  return found;
}

export function element(name: string, content: string | readonly Node[] = '', className = ''): HTMLElement {
  const made = document.createElement(name);
  if (typeof content === 'string') made.textContent = content;
  else made.append(...content);
  if (className !== '') made.className = className;
  return made;
}

/** Text of unknown direction, as names of disks are: it does not turn what is around it. */
export function isolated(text: string): HTMLElement {
  return element('bdi', text);
}

/** Only where it changes: a screen reader would read it again. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** A color of the page's style, as a canvas takes it: of the present theme. */
export function colorOf(name: string): string {
  const probe = element('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

export function show(target: HTMLElement, isShown: boolean): void {
  target.hidden = !isShown;
}

/** `11:05:09`, with the date where it is another day. */
export function timeText(ms: number, nowMs: number): string {
  const [at, now] = [new Date(ms), new Date(nowMs)];
  const two = (value: number): string => String(value).padStart(2, '0');
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const dateOf = (date: Date): string =>
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return dateOf(at) === dateOf(now) ? time : `${dateOf(at)} ${time}`;
}

export function numberText(value: number): string {
  return value.toLocaleString('en');
}
