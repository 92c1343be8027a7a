// Plays one plan, as a failure prints it, from the standard input: node build/test/model/replay.js < plan.json
import { readFileSync } from 'node:fs';
import { play } from './world.ts';

// With DOORMAN_MODEL_TRACE it tells what is sent, judged and told.
play(JSON.parse(readFileSync(0, 'utf8'))[0]);
