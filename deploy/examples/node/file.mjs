// A JSON file that is either as it was or as it is to be, whenever the process or the machine dies.

import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

export async function load(path, otherwise) {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return otherwise;
    throw error;
  }
}

// save writes beside the file, has that written to disk, and only then puts it in the file's place.
export async function save(path, value) {
  const beside = path + ".new";
  const file = await open(beside, "w");
  await file.writeFile(JSON.stringify(value));
  await file.sync();
  await file.close();
  await rename(beside, path);
  const folder = await open(dirname(path));
  await folder.sync(); // the renaming, too
  await folder.close();
}
