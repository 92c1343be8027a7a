// The simulated server plays the Go core's own scenarios (aggregate/testdata/scenarios) and must tell the same.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Env, Kind, Round } from './sim/rules.ts';
import { Rules } from './sim/rules.ts';

const folder = process.env.DOORMAN_SCENARIOS ?? '../../aggregate/testdata/scenarios';

/** A type whose code does what a command's name says. */
const abacus: Kind = {
  initial: 0,
  evolve: (n: number) => n + 1,
  decide(_state, command) {
    if (command == 'add') return [{ type: 'added', data: 1 }];
    if (command == 'look') return [];
    if (command == 'refuse') return { reason: 'refused', refusal: 'not_today', detail: 'come back tomorrow' };
    if (command == 'panic') return { reason: 'failed', detail: 'the code of the type tally broke on it; an operator can see the cause' };
    return { reason: 'unknown_command', detail: `the type tally has no command ${command}` };
  },
};

function duration(ms: number): string {
  const m = Math.floor(ms / 60_000);
  return (m ? m + 'm' : '') + (ms / 1000 - 60 * m) + 's';
}

function tell(r: Round): string[] {
  const cascade = (yes?: boolean) => (yes ? ' in one cascade' : '');
  return [
    ...r.answers.map((a) => `${a.id} ${a.what}`),
    ...r.outcomes.map((o) =>
      o.status == 'landed' ? `${o.env.id} landed @${o.version}`
      : o.root == o.env.id ? `${o.env.id} rejected ${o.reason}: ${o.detail}`
      : `${o.env.id} rejected ${o.reason}, root ${o.root} ${o.rootReason}${cascade(o.cascaded)}`),
    ...r.park.map((w) => `${w.env.id} parked on ${w.env.ticket} until ${duration(w.deadline)}`),
    ...r.extend.map((w) => `${w.env.id} waits until ${duration(w.deadline)} now`),
  ].map((line) => '  ' + line);
}

function command(words: string[]): Env {
  const env: Env = { id: words[0]!, stream: 'a', policy: 'ticket', session: '', type: 'add' };
  const key: Record<string, keyof Env> = { on: 'ticket', by: 'session', under: 'policy', to: 'stream', do: 'type' };
  for (let i = 1; i < words.length; i += 2) env[key[words[i]!]!] = words[i + 1]!;
  return env;
}

class Stage {
  rules = new Rules(abacus);
  play(lines: string[]): string[] {
    const out: string[] = [];
    let batch: Env[] | undefined;
    const say = (rounds: Round[]) => rounds.forEach((r, i) => out.push(...(i ? ['  (next round)'] : []), ...tell(r)));
    for (const line of lines) {
      const [step, ...words] = line.split(' ');
      if (step == 'send' && batch) batch.push(command(words));
      else if (step == 'send') say(this.rules.play(command(words)));
      else if (step == 'batch') batch = [];
      else if (step == 'end') {
        say(this.rules.play(...batch!));
        batch = undefined;
      } else if (step == 'wait') {
        this.rules.clock += 1000 * parseInt(words[0]!);
        say(this.rules.expire());
      } else if (step == 'operator') say(this.rules.operator('a', words[0]!, words.slice(1).join(' ')));
      else if (step == 'limits') for (const w of words) this.limit(w);
      else assert.fail(`no such step: ${line}`);
    }
    return out;
  }
  limit(word: string): void {
    const [key, value] = word.split('=') as [string, string];
    if (key == 'park') this.rules.parkFor = 1000 * parseInt(value);
    else this.rules.limits[key as 'stream'] = +value;
  }
}

const files = readdirSync(folder).filter((f) => f.endsWith('.txt'));
assert.ok(files.length > 10, `the scenarios are not in ${folder}`);
for (const file of files)
  test(`scenario ${file}`, () => {
    const stage = new Stage();
    const text = readFileSync(`${folder}/${file}`, 'utf8');
    const told: string[] = [];
    let input: string[] = [];
    let skip = false;
    for (const line of text.split('\n')) {
      if (line == '----') {
        told.push(line, ...stage.play(input));
        input = [];
        skip = true;
      } else if (line == '' || line.startsWith('#')) {
        skip = false;
        told.push(line);
      } else if (!skip) {
        input.push(line);
        told.push(line);
      }
    }
    assert.equal(told.join('\n'), text);
  });
