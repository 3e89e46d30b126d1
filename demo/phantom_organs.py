"""Organs of the phantom that need more than an ellipsoid: bones, kidneys, vessels, bowel, stomach, pancreas."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from demo.phantom_shapes import Field, Grid, column, ellipsoid, overlap, random_path, repeated, tube, union

VERTEBRA = 34.0
"""Height in mm of a vertebra with its disc."""


class Painter(Protocol):
    """What an organ needs of the canvas."""

    def paint(self, distance: Field, hu: Field | float, label: int | None = 0) -> None:
        """Cover the inside of `distance` with CT number and label."""
        ...


def diaphragm_height(grid: Grid) -> Field:
    """Height z in mm of the diaphragm above each point: the dome over the liver stands higher than the left one."""
    right = np.exp(-(((grid.x + 60) / 54) ** 2) - ((grid.y + 10) / 58) ** 2)
    left = np.exp(-(((grid.x - 62) / 50) ** 2) - ((grid.y + 5) / 56) ** 2)
    front = 34 * np.clip(-(grid.y + 20) / 60, 0, 1)
    return np.minimum(98 + 92 * right + 78 * left + front, 198).astype(np.float32)


def ribs(canvas: Painter, grid: Grid) -> None:
    """Ribs that fall from the spine to the front, their cartilage, and the breastbone."""
    angle = np.arctan2(np.abs(grid.x) / 122, (grid.y + 6) / 83) / np.pi
    wall = np.hypot(grid.x / 122, (grid.y + 6) / 83)
    outward = (wall - 1) * np.hypot(grid.x, grid.y + 6) / np.maximum(wall, 1e-3)
    height = repeated((grid.z + 78 * angle - 40 * angle**3 - 8).astype(np.float32), 29.0)
    section = np.hypot(outward / 3.9, height / 6.6)
    bone = 5.0 * (1 - section)
    # Below the costal margin, which climbs towards the front, there are none.
    reach = overlap(
        (grid.z - 62 - 95 * np.clip(angle - 0.35, 0, 1)).astype(np.float32), ((angle - 0.1) * 300).astype(np.float32)
    )
    rib = overlap(bone.astype(np.float32), reach)
    cartilage = angle > 0.78
    canvas.paint(rib, np.where(cartilage, 95, 560).astype(np.float32))
    canvas.paint(rib - 2.2, np.where(cartilage, 80, 210).astype(np.float32))
    sternum = ellipsoid(grid, (0, -92, 232), (19, 6.5, 58), 3.0)
    canvas.paint(sternum, 430.0)
    canvas.paint(sternum - 2.5, 150.0)


def spine(canvas: Painter, grid: Grid, label: int) -> None:
    """Vertebrae with cortex and marrow, arches and processes; discs and the canal between them carry no label."""
    centre = (45 + 5 * np.sin((grid.z - 60) / 75)).astype(np.float32)
    level = repeated(grid.z - 12, VERTEBRA)
    muscle_gap = column(grid, 0.0, centre, (27.0, 21.0), 2.4)
    canvas.paint(muscle_gap, 50.0)
    waist = 1.4 * (np.abs(level) / 13) ** 2
    body = column(grid, 0.0, centre, (21.5, 16.0), 2.6) + waist - 1.0
    bone = overlap(body, 13.5 - np.abs(level))
    canvas.paint(overlap(body, np.abs(level) - 13.0), 88.0)
    arch_y = centre + 27
    arch = column(grid, 0.0, arch_y - 1, (19.0, 15.0), 2.2)
    arch_span = (11.0 - np.abs(level + 3)).astype(np.float32)
    ring = overlap(arch, arch_span, -column(grid, 0.0, arch_y - 4, (11.0, 9.5), 2.2))
    pedicle = overlap(7.0 - np.abs(np.abs(grid.x) - 14.5), 8.0 - np.abs(grid.y - centre - 17), 6.5 - np.abs(level - 3))
    transverse = overlap(
        4.0 - np.abs(level - 1),
        4.2 - np.abs(grid.y - centre - 25 - 0.12 * np.abs(grid.x)),
        37 - np.abs(grid.x),
        np.abs(grid.x) - 12,
    )
    tail = grid.y - centre - 36
    spinous = overlap(3.4 - np.abs(grid.x), 8.5 - np.abs(level + 4 + 0.35 * tail), tail + 2, 18 - tail)
    # The facet joints stand between the arches of neighbouring vertebrae.
    facet = overlap(5.5 - np.abs(np.abs(grid.x) - 17), 6.0 - np.abs(grid.y - centre - 28), 12 - np.abs(level + 12))
    back = union(ring, pedicle, transverse, spinous, facet).astype(np.float32)
    canal = overlap(column(grid, 0.0, arch_y - 4, (10.5, 9.0), 2.2))
    for part, cortex, marrow in [(bone, 400.0, 175.0), (back, 470.0, 260.0)]:
        canvas.paint(part, cortex, label)
        canvas.paint(part - 2.4, marrow, None)
    canvas.paint(canal, 12.0)
    canvas.paint(column(grid, 0.0, arch_y - 4, (5.5, 4.5)), 38.0)
    grow = np.clip((118 - grid.z) / 118, 0, 1)
    psoas = column(grid, np.sign(grid.x) * (33 + 9 * grow), centre + 2, (17.0, 20.0), 2.2) - 17 * (1 - grow)
    canvas.paint(overlap(psoas, -bone - 1, -back - 1), 60.0)


def kidney_surface(grid: Grid, centre: tuple[float, float, float], side: int) -> Field:
    """Distance to a kidney's surface; side -1 right, +1 left. The hilum is a dent on the inner side."""
    x, y, z = centre
    bean = ellipsoid(grid, centre, (28, 25, 52), 2.2, turn=side * 28, tilt=side * -9)
    return overlap(bean, -ellipsoid(grid, (x - side * 30, y - 10, z), (14, 11, 19)))


def kidney(canvas: Painter, grid: Grid, centre: tuple[float, float, float], side: int, label: int) -> None:
    """A kidney in its fat: bright cortex with columns, darker pyramids, fat and vessels in the sinus."""
    x, y, z = centre
    surface = kidney_surface(grid, centre, side)
    canvas.paint(surface + 4, -100.0)
    canvas.paint(surface, 198.0, label)
    around = np.arctan2(grid.y - y, grid.x - x)
    pyramids = np.cos(5 * around) * np.cos((grid.z - z) / 7.5)
    canvas.paint(overlap(surface - 6.5, (3.5 * (pyramids + 0.35)).astype(np.float32)), 150.0, None)
    sinus = overlap(ellipsoid(grid, (x - side * 15, y - 5, z), (17, 9, 24), turn=side * 28), surface + 3)
    canvas.paint(sinus, -70.0)
    canvas.paint(sinus - 4.5, 25.0)
    hilum = np.array([[x - side * 14, y - 6, z], [x - side * 34, y - 12, z + 4], [side * 8, 15, z + 6]], float)
    canvas.paint(tube(grid, (hilum, np.array([3.5, 4.5, 4.5]))), 150.0)


def great_vessels(canvas: Painter, grid: Grid, label: int) -> None:
    """Aorta (labelled) and inferior vena cava in front of the spine, with the stems to the gut."""
    heights = np.linspace(-10, 250, 14)
    bend = 5 * np.sin((heights - 60) / 75)
    aorta = np.stack([9 + 0.055 * (heights - 60) + 2 * np.sin(heights / 40), 14 + bend, heights], axis=1)
    cava = np.stack(
        [-18 + 1.5 * np.sin(heights / 30), 13 + bend - 0.1 * np.clip(heights - 110, 0, 60), heights], axis=1
    )
    canvas.paint(overlap(tube(grid, (cava, np.linspace(11.5, 12.5, 14))), 196 - grid.z), 142.0)
    lumen = tube(grid, (aorta, np.linspace(9.5, 12.0, 14)))
    canvas.paint(lumen + 3, -80.0, None)
    canvas.paint(lumen, 165.0, label)
    # Calcified plaques of an older patient, in the wall.
    plaque = overlap(
        lumen,
        2.2 - lumen,
        (np.cos(grid.z / 9) * np.sin(np.arctan2(grid.y - 15, grid.x - 9) * 2) * 4 - 3).astype(np.float32),
    )
    canvas.paint(plaque, 620.0, None)
    mesenteric = np.array([[9, 8, 92], [6, -4, 82], [2, -10, 50], [0, -14, 10]], float)
    canvas.paint(tube(grid, (mesenteric, np.array([4.5, 4.0, 3.6, 3.0]))), 160.0)
    vein = mesenteric + np.array([-12, -1, 0])
    canvas.paint(tube(grid, (vein, np.array([6.0, 5.5, 5.0, 4.0]))), 148.0)


def pancreas(canvas: Painter, grid: Grid) -> None:
    """A lobulated band across the spine, with the splenic vein behind it."""
    path = np.array([[-26, -12, 74], [-10, -20, 82], [12, -22, 94], [40, -2, 106], [66, 18, 114]], float)
    surface = tube(grid, (path, np.array([14.0, 12.0, 9.0, 9.0, 7.0])))
    lobules = 1.6 * np.sin(grid.x / 3.1) * np.sin(grid.y / 2.9 + grid.z / 4.0)
    canvas.paint((surface + lobules).astype(np.float32), 92.0)
    canvas.paint(tube(grid, (path + np.array([2, 11, 2]), np.full(5, 4.2))), 148.0)


def stomach(canvas: Painter, grid: Grid, surface: Field, label: int) -> None:
    """Wall, fluid, food, and the gas that floats to the front of a patient who lies: a level surface."""
    canvas.paint(surface, 74.0, label)
    lumen = surface - 4.0
    folds = (14 + 16 * np.sin(grid.x / 5) * np.sin(grid.z / 6) * np.sin(grid.y / 7)).astype(np.float32)
    canvas.paint(lumen, folds, None)
    canvas.paint(overlap(lumen, (-34 - grid.y).astype(np.float32)), -960.0, None)


def bowel(canvas: Painter, grid: Grid, cavity: Field, rng: np.random.Generator) -> None:
    """Loops of small bowel in the mesenteric fat, and the colon along the flanks with stool and gas."""
    colon = [
        np.array([[-88, 12, -10], [-90, 14, 30], [-84, -2, 56], [-52, -58, 48], [0, -66, 34], [50, -60, 52]], float),
        np.array([[50, -60, 52], [82, -38, 84], [98, -6, 86], [100, 10, 50], [98, 12, -10]], float),
    ]
    for _ in range(15):
        start = (rng.uniform(-62, 66), rng.uniform(-58, 4), rng.uniform(-8, 52))
        path = random_path(rng, start, (rng.standard_normal(3) * (1, 0.6, 0.6)).tolist(), 14, 9.0, 0.55)
        path[:, 2] = 55 - np.abs(55 - path[:, 2])
        path[:, 0] = np.clip(path[:, 0], -72, 74)
        path[:, 1] = np.clip(path[:, 1], -64, 6)
        loop = overlap(tube(grid, (path, rng.uniform(8.0, 11.5, len(path)))), cavity - 3)
        canvas.paint(loop + 1.5, -95.0)
        canvas.paint(loop, 92.0)
        canvas.paint(loop - 3.0, 30.0)
        if rng.random() < 0.4:
            canvas.paint(overlap(loop - 3.5, path[:, 1].mean() - 3 - grid.y), -900.0)
    for path in colon:
        haustra = (2.0 * np.sin((grid.x + grid.y + 2 * grid.z) / 9)).astype(np.float32)
        surface = overlap(tube(grid, (path, np.linspace(20, 17, len(path)))) + haustra, cavity - 4)
        canvas.paint(surface, 68.0)
        stool = (20 - 110 * (np.sin(grid.x / 4.3) * np.sin(grid.y / 3.7) * np.sin(grid.z / 5.1)) ** 2).astype(
            np.float32
        )
        canvas.paint(surface - 3.0, stool)
        canvas.paint(overlap(surface - 3.5, -grid.y - 56), -940.0)
        canvas.paint(overlap(surface - 3.5, -grid.y - 2, grid.y + 30), -930.0)


def liver_vessels(canvas: Painter, grid: Grid, liver: Field, rng: np.random.Generator) -> None:
    """Portal vein from the hilum with its branches, and hepatic veins that meet under the dome; part of the liver."""
    trunk = np.array([[-8, -4, 84], [-24, -2, 98], [-36, -8, 112]], float)
    canvas.paint(tube(grid, (trunk, np.array([7.0, 7.0, 6.0]))), 152.0, None)
    portal = [(-1.0, -0.3, 0.1), (-0.5, 0.7, -0.3), (0.4, -0.8, 0.6), (-0.8, -0.6, 0.6), (-0.6, 0.4, 0.7)]
    hepatic = [(-1.0, 0.1, -0.6), (-0.5, -0.9, -0.6), (0.5, -0.9, -0.3)]
    inflow = [(random_path(rng, trunk[-1], heading, 9, 8.0, 0.22), np.linspace(4.8, 1.6, 10)) for heading in portal]
    outflow = [
        (random_path(rng, (-20, 4, 166), heading, 11, 8.0, 0.16), np.linspace(5.2, 1.6, 12)) for heading in hepatic
    ]
    canvas.paint(overlap(tube(grid, *inflow, *outflow), liver - 2), 150.0, None)


def lung_vessels(canvas: Painter, grid: Grid, lungs: Field, rng: np.random.Generator) -> None:
    """Branches that leave the hila; they belong to the lung as a reader outlines it."""
    branches = []
    for side in (-1, 1):
        for _ in range(34):
            heading = (side * rng.uniform(0.5, 1.3), rng.uniform(-1, 1), rng.uniform(-1.0, 0.8))
            stem = random_path(rng, (side * 26 + 4, 0, 200), heading, 8, 8.0, 0.16)
            branches.append((stem, np.linspace(5.0, 2.2, len(stem))))
            for start in (stem[4], stem[-1], stem[-1]):
                twig = random_path(rng, start, start - stem[2] + rng.normal(0, 12, 3), 6, 7.0, 0.2)
                branches.append((twig, np.linspace(2.4, 1.0, len(twig))))
    canvas.paint(overlap(tube(grid, *branches), lungs - 1), 30.0, None)
