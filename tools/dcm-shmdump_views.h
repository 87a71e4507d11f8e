/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions behind views[], and the cells that several of them have. */
#ifndef DCM_TOOLS_SHMDUMP_VIEWS_H
#define DCM_TOOLS_SHMDUMP_VIEWS_H

#include "tools/dcm-shmdump.h"

/* The pid in process slot @index; none where that is free or not a slot. */
void cell_pid(struct sheet *sheet, const struct dump *dump, uint32_t index);

void fill_fabric(const struct dump *dump, struct sheet *sheet);
void fill_use(const struct dump *dump, struct sheet *sheet);
void fill_stuck(const struct dump *dump, struct sheet *sheet);

#endif
