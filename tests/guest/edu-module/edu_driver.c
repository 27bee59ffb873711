// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A driver of the educational device for Linux: has it compute a factorial and copy a buffer into the device and back, each
 * with an interrupt, by message where the machine has messages, and says in the kernel's log what came of it.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>

enum {
	FACTORIAL = 0x08,
	STATUS = 0x20,
	INTERRUPT_STATUS = 0x24,
	INTERRUPT_ACKNOWLEDGE = 0x64,
	DMA_SOURCE = 0x80,
	DMA_DESTINATION = 0x88,
	DMA_COUNT = 0x90,
	DMA_COMMAND = 0x98,
};

#define STATUS_INTERRUPT 0x80
#define DMA_START 1
#define DMA_FROM_DEVICE 2
#define DMA_INTERRUPT 4
/* Where the device's own buffer is for transfers. */
#define BUFFER 0x40000
#define BYTES 1024

struct edu {
	void __iomem *registers;
	struct completion done;
	u32 cause;
};

static irqreturn_t edu_interrupt(int irq, void *data)
{
	struct edu *edu = data;
	u32 cause = readl(edu->registers + INTERRUPT_STATUS);

	if (!cause)
		return IRQ_NONE;
	writel(cause, edu->registers + INTERRUPT_ACKNOWLEDGE);
	edu->cause = cause;
	complete(&edu->done);
	return IRQ_HANDLED;
}

static int edu_wait(struct edu *edu, u32 cause)
{
	if (!wait_for_completion_timeout(&edu->done, 5 * HZ))
		return -ETIMEDOUT;
	return edu->cause == cause ? 0 : -EIO;
}

static int edu_copy(struct edu *edu, u64 from, u64 to, u64 command)
{
	writeq(from, edu->registers + DMA_SOURCE);
	writeq(to, edu->registers + DMA_DESTINATION);
	writeq(BYTES, edu->registers + DMA_COUNT);
	writeq(command | DMA_START | DMA_INTERRUPT, edu->registers + DMA_COMMAND);
	return edu_wait(edu, 0x100);
}

static int edu_exercise(struct edu *edu, struct device *dev)
{
	dma_addr_t address;
	u8 *memory = dma_alloc_coherent(dev, 2 * BYTES, &address, GFP_KERNEL);
	int n, error;

	if (!memory)
		return -ENOMEM;
	for (n = 0; n < BYTES; n++)
		memory[n] = n * 7;
	writel(STATUS_INTERRUPT, edu->registers + STATUS);
	writel(10, edu->registers + FACTORIAL);
	error = edu_wait(edu, 1);
	if (!error && readl(edu->registers + FACTORIAL) != 3628800)
		error = -EIO;
	if (!error)
		error = edu_copy(edu, address, BUFFER, 0);
	if (!error)
		error = edu_copy(edu, BUFFER, address + BYTES, DMA_FROM_DEVICE);
	if (!error && memcmp(memory, memory + BYTES, BYTES))
		error = -EIO;
	dma_free_coherent(dev, 2 * BYTES, memory, address);
	return error;
}

static int edu_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct edu *edu = devm_kzalloc(&pci->dev, sizeof(*edu), GFP_KERNEL);
	int error;

	if (!edu)
		return -ENOMEM;
	init_completion(&edu->done);
	error = pcim_enable_device(pci);
	if (error)
		return error;
	/* The device reaches 28 bits of addresses, unless it is told to reach more. */
	error = dma_set_mask_and_coherent(&pci->dev, DMA_BIT_MASK(40));
	if (error)
		return error;
	edu->registers = pcim_iomap(pci, 0, 0);
	if (!edu->registers)
		return -ENOMEM;
	pci_set_master(pci);
	error = pci_alloc_irq_vectors(pci, 1, 1, PCI_IRQ_MSI | PCI_IRQ_INTX);
	if (error < 0)
		return error;
	error = devm_request_irq(&pci->dev, pci_irq_vector(pci, 0), edu_interrupt, IRQF_SHARED, "edu", edu);
	if (error)
		return error;
	error = edu_exercise(edu, &pci->dev);
	dev_info(&pci->dev, "edu: %s, interrupts by %s\n", error ? "failed" : "done", pci->msi_enabled ? "message" : "pin");
	return error;
}

static void edu_remove(struct pci_dev *pci)
{
	pci_free_irq_vectors(pci);
}

static const struct pci_device_id edu_ids[] = { { PCI_DEVICE(0x1234, 0x11e8) }, {} };
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = { .name = "edu", .id_table = edu_ids, .probe = edu_probe, .remove = edu_remove };
module_pci_driver(edu_driver);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Exercises the educational device");
