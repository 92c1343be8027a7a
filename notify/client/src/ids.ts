let last = 0;
let count = 0;
const hex = Array.from({ length: 256 }, (_, x) => (x + 256).toString(16).slice(1));

/**
 * A UUIDv7 (RFC 9562 section 5.7). Those of one millisecond are in order too: the twelve bits after the time count,
 * from a random start, and the time runs ahead when they are used up.
 */
export function uuid(now: number, random: (n: number) => Uint8Array): string {
  const b = random(16);
  if (now > last) {
    last = now;
    count = b[7]! << 2;
  } else if (++count > 4095) {
    last++;
    count = 0;
  }
  for (let i = 0; i < 6; i++) b[i] = last / 2 ** (40 - 8 * i);
  b[6] = 0x70 | (count >> 8);
  b[7] = count;
  b[8] = 0x80 | (b[8]! & 63);
  let id = '';
  for (let i = 0; i < 16; i++) id += (i == 4 || i == 6 || i == 8 || i == 10 ? '-' : '') + hex[b[i]!];
  return id;
}
