// The model must be able to find what it is for: mistakes that are made on purpose in a copy of the client.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const build = join(dirname(fileURLToPath(import.meta.url)), '../..');

const mistakes: [what: string, file: string, right: string, wrong: string][] = [
  ['older states replace newer ones', 'stream', 's.version < this._rec.version ||', ''],
  ['an action is based on what was received, not on what was shown', 'view', 'last ? last.id : this._base', 'last ? last.id : this._rec.ticket || this._base'],
  ['an action is sent on another ticket under its old id', 'conflict', 'a.id = id();', ''],
  ['it is forgotten that the fate of an attempt is unknown', 'stream', "a.murk = true", 'a.murk = false'],
  ['what may have arrived is sent again under another id', 'stream', "a.murk = true", 'a.id = this._host.id()'],
  ['a snapshot is applied without asking what became of the pending', 'stream', 'if (open.length) {', 'if (false) {'],
  ['a POST leaves before its commands are kept', 'client', 'if (!persist || !dirty.length)', 'if (true)'],
  ['what followed a rejected action is left as it was', 'conflict', 'gone.has(a.ticket) && !(', 'false && !('],
  ['a form is sent as if it had been opened just now', 'view', 'era == this._era', 'true'],
  ['a conflict is told at every frame', 'stream', 'else if (c != this.#told) {', 'else if (c) {'],
  ['a connection without a mark goes on as if nothing had been missed', 'feed', 'if (!mark)', 'if (false)'],
  ['what has been sent is merged with what comes after it', 'view', 'if (merge && last && !last.tries &&', 'if (merge && last &&'],
  ['a lost predecessor is the user\'s problem', 'stream', "(reason == 'predecessor_missing' || reason == 'parking_full') && before", 'false'],
];

for (const [what, file, right, wrong] of mistakes)
  test(`found: ${what}`, () => {
    const copy = mkdtempSync(join(build, 'planted-'));
    try {
      for (const folder of ['src', 'test']) cpSync(join(build, folder), join(copy, folder), { recursive: true });
      const path = join(copy, 'src', file + '.js');
      const text = readFileSync(path, 'utf8');
      assert.ok(text.includes(right), `${file}.ts does not say ${right} any more`);
      writeFileSync(path, text.replace(right, wrong));
      const { status, stdout } = spawnSync(process.execPath, [join(copy, 'test/model/hunt.js'), '2000', '1'], { encoding: 'utf8', timeout: 300_000 });
      assert.equal(status, 1, `it was not found: ${stdout}`);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
