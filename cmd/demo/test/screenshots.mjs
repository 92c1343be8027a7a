// The pictures of the README: the moment in which Ann is told what Ben did while she was cut off. Into the folder that
// is named.
import { writeFileSync } from 'node:fs';
import { launch, visit } from './browser.mjs';

const folder = process.argv[2];
const browser = await launch();

/** The order in the middle of a working day. */
async function story(v, parked) {
  await v.switch('Ben', 'shuffle');
  await v.more('Ben', 'Paper', 3);
  await v.actions('landed', 5);
  await v.switch('Ben', 'shuffle');
  await v.switch('Ann', 'cut');
  await v.more('Ann', 'Pencils', parked ? 3 : 1);
  await v.card('Mia').getByRole('button', { name: 'Ben', exact: true }).click();
  await v.actions('landed', 6);
  await v.more('Ben', 'Paper');
  await v.actions('landed', 7);
  await v.switch('Ann', 'cut');
  await v.dialog('Ann').waitFor();
  await v.actions('rejected', parked ? 3 : 1);
  if (!parked) return;
  // The second of these overtakes the first, and is caught in the act.
  await v.switch('Ben', 'shuffle');
  await v.more('Ben', 'Paper', 2);
  await v.actions('parked', 1);
}

/** Small pictures of what is in the window. */
async function picture(v, path) {
  const devtools = await v.context.newCDPSession(v.page);
  const { data } = await devtools.send('Page.captureScreenshot', { format: 'webp', quality: 90 });
  writeFileSync(path, Buffer.from(data, 'base64'));
  if (process.env.DESK_PNG) await v.page.screenshot({ path: path.replace(/webp$/, 'png') });
}

for (const colorScheme of ['light', 'dark']) {
  for (const [name, viewport] of [['desktop', { width: 1440, height: 1010 }], ['phone', { width: 390, height: 844 }]]) {
    const phone = name == 'phone';
    const v = await visit(browser, { colorScheme, viewport });
    await story(v, !phone);
    await v.page.mouse.move(0, 0);
    await v.page.evaluate((phone) => {
      document.activeElement.blur();
      const box = document.querySelector('.scroll');
      box.scrollLeft = box.scrollWidth;
      const top = document.querySelector('.card').offsetTop - document.querySelector('.timeline').offsetHeight - 10;
      scrollTo(0, phone ? top : 0);
      return document.fonts.ready;
    }, phone);
    await picture(v, `${folder}/${name}-${colorScheme}.webp`);
    if (v.errors.length) throw new Error(v.errors.join('\n'));
    await v.context.close();
  }
}
await browser.close();
