// The React binding, with React's own act.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JSDOM } from 'jsdom';
import { Stage } from '../sim/wire.ts';

const { window } = new JSDOM('<main></main>');
Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
Object.defineProperty(globalThis, 'navigator', { value: window.navigator, configurable: true });
const { act, createElement: h, StrictMode } = await import('react');
const { createRoot } = await import('react-dom/client');
const { useStatus, useStream } = await import('../../src/react.ts');

const options = { initial: [] as string[], predict: { add: (s: string[], d: any) => [...s, ...d.tags] } };

test('a component shows what is sent at once, what others do, and the conflict', async () => {
  const stage = new Stage();
  const stream = stage.client('ann').stream('journal/1', options);
  const other = stage.client('bob').stream('journal/1', options);
  let renders = 0;
  const Last = ({ handle }: any) => h('i', null, useStatus(handle));
  const App = () => {
    renders++;
    const { state, pending, conflict, send } = useStream(stream);
    return h('div', null,
      h('b', null, state.join(',')), pending.map((p) => h(Last, { key: p.id, handle: p })),
      conflict && h('p', null, `${conflict.mine.data.tags} or ${conflict.state}, by ${conflict.theirs?.command.actor}`),
      h('button', { onClick: () => send('add', { tags: ['mine'] }) }));
  };
  const main = window.document.querySelector('main')!;
  const root = createRoot(main);
  await act(async () => root.render(h(StrictMode, null, h(App))));
  await act(async () => stage.run());
  const click = async () => act(async () => main.querySelector('button')!.dispatchEvent(new window.MouseEvent('click', { bubbles: true })));

  await act(async () => {
    other.send('add', { tags: ['theirs'] });
    stage.held = true;
    stage.run();
  });
  await click();
  await act(async () => stage.time.pass(20));
  assert.equal(main.querySelector('b')!.textContent, 'mine');
  assert.equal(main.querySelector('i')!.textContent, 'sent');
  await act(async () => {
    stage.release();
    stage.run();
  });
  assert.equal(main.querySelector('b')!.textContent, 'theirs');
  assert.equal(main.querySelector('p')!.textContent, 'mine or theirs, by bob');
  await act(async () => {
    stream.conflict!.retry();
    stage.run();
  });
  assert.equal(main.querySelector('b')!.textContent, 'theirs,mine');
  assert.equal(main.querySelector('p'), null);
  const before = renders;
  await act(async () => stage.time.pass(1000));
  assert.equal(renders, before, 'nothing has changed');
  await act(async () => root.unmount());
});
