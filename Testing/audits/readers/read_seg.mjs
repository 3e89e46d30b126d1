// Prints as JSON where @itk-wasm/dicom, @itk-wasm/image-io and @cornerstonejs/adapters find the voxels of a file.
// Usage: node read_seg.mjs itk-dicom|itk-image|cornerstone FILE
import fs from 'node:fs'
import path from 'node:path'

const points = (image) => {
  const found = {}
  const [ni, nj] = image.size
  const data = image.data
  for (let n = 0; n < data.length; n++) {
    if (!data[n]) continue
    const index = [n % ni, Math.floor(n / ni) % nj, Math.floor(n / (ni * nj))]
    const place = image.origin.map((start, axis) => {
      let sum = start
      for (let q = 0; q < 3; q++) sum += image.direction[axis * 3 + q] * image.spacing[q] * index[q]
      return sum
    })
    ;(found[data[n]] ??= []).push(place)
  }
  return found
}

// A small file's Buffer is a part of a larger pool.
const bytesOf = (file) => {
  const content = fs.readFileSync(file)
  return content.buffer.slice(content.byteOffset, content.byteOffset + content.length)
}

const readers = {
  async 'itk-dicom'(file) {
    const { readSegmentationNode } = await import('@itk-wasm/dicom')
    const { segImage } = await readSegmentationNode(file)
    return points(segImage)
  },
  async 'itk-image'(file) {
    const { readImageNode } = await import('@itk-wasm/image-io')
    return points(await readImageNode(file))
  },
  // Counts alone: this reader places frames by the viewer's image ids, one a source slice.
  async cornerstone(file) {
    const dcmjs = (await import('dcmjs')).default
    const { adaptersSEG } = await import('@cornerstonejs/adapters')
    const { metaData } = await import('@cornerstonejs/core')
    const source = path.join(path.dirname(file), 'dicom')
    const headers = new Map()
    for (const name of fs.readdirSync(source).sort()) {
      const dict = dcmjs.data.DicomMessage.readFile(bytesOf(path.join(source, name)))
      headers.set(`x:${name}`, dcmjs.data.DicomMetaDictionary.naturalizeDataset(dict.dict))
    }
    const metadataProvider = {
      get(type, id) {
        const one = headers.get(id)
        if (!one) return undefined
        const rows = one.ImageOrientationPatient.slice(0, 3).map(Number)
        const columns = one.ImageOrientationPatient.slice(3).map(Number)
        if (type === 'imagePlaneModule') {
          return { rows: one.Rows, columns: one.Columns, rowCosines: rows, columnCosines: columns,
            imageOrientationPatient: [...rows, ...columns], imagePositionPatient: one.ImagePositionPatient.map(Number),
            pixelSpacing: one.PixelSpacing.map(Number), frameOfReferenceUID: one.FrameOfReferenceUID }
        }
        if (type === 'generalSeriesModule') return { seriesInstanceUID: one.SeriesInstanceUID, studyInstanceUID: one.StudyInstanceUID }
        if (type === 'sopCommonModule') return { sopInstanceUID: one.SOPInstanceUID, sopClassUID: one.SOPClassUID }
        return one
      },
    }
    metaData.addProvider((type, id) => metadataProvider.get(type, id))
    const buffer = bytesOf(file)
    const made = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
      [...headers.keys()], buffer, { metadataProvider, tolerance: 1e-3 })
    const counts = {}
    const layers = made.labelMapImages ?? made.labelmapBufferArray ?? []
    for (const layer of layers.flat()) {
      const values = layer.getPixelData ? layer.getPixelData() : layer.voxelManager?.getScalarData() ?? new Uint8Array(layer)
      for (const value of values) if (value) counts[value] = (counts[value] ?? 0) + 1
    }
    return { counts }
  },
}

const [kind, file] = process.argv.slice(2)
console.log = () => {}
const found = await readers[kind](file)
process.stdout.write(JSON.stringify(found))
process.exit(0)
